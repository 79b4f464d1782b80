"""Points of a graded notebook, put by what its lab gives now.

What was found of a submission is kept; what each part of it is worth may change later. The verdicts
say which parts were earned, so nothing is run again.
"""

import copy
from functools import lru_cache
from typing import Any

from nbformat.notebooknode import NotebookNode

from labsupport.course.build import student_notebook
from labsupport.course.lab import LabCell
from labsupport.course.source import parsed_lab
from labsupport.grading.submission.verdict_cells import verdict_outputs


def with_points(graded: NotebookNode, stem: str, source: str) -> NotebookNode:
    """A graded notebook, changed to have the points of a lab's source, as they are now."""
    if has_points(graded, stem, source):
        return graded
    lab, released = parsed_lab(stem, source), _released(stem, source)
    about = graded.metadata["labsupport_grading"]
    worth = {v["exercise"]: _worth(v, lab.one("judge", v["exercise"])) for v in about["verdicts"]}
    for cell in graded.cells:
        given = cell.metadata.get("labsupport", {})
        if given.get("kind") in ("judge", "answer") and cell.id in released:
            cell.metadata = copy.deepcopy(released[cell.id].metadata)  # points, checksum
        if given.get("kind") == "judge" and given.get("name") in worth:
            cell.source = released[cell.id].source
            cell.outputs = verdict_outputs(worth[given["name"]])
    about["verdicts"] = list(worth.values())
    return graded


def has_points(graded: dict[str, Any], stem: str, source: str) -> bool:
    """Whether a graded notebook, as JSON has it, has the points of a lab's source."""
    lab = parsed_lab(stem, source)
    now = {c.id: float(c.points) for c in lab.of("judge")}
    now |= {f"answer-{c.name}": float(c.points) for c in lab.of("question")}
    found = {
        cell["metadata"]["nbgrader"]["grade_id"]: float(cell["metadata"]["nbgrader"]["points"])
        for cell in graded["cells"]
        if cell["metadata"].get("nbgrader", {}).get("grade")
    }
    verdicts = graded["metadata"]["labsupport_grading"]["verdicts"]
    parts = {v["exercise"]: {p["part"]: p["max_points"] for p in v["parts"]} for v in verdicts}
    return found == now and parts == {c.name: c.parts for c in lab.of("judge")}


@lru_cache(maxsize=16)
def _released(stem: str, source: str) -> dict[str, NotebookNode]:
    """The cells of a lab as students get it, by id."""
    return {cell.id: cell for cell in student_notebook(parsed_lab(stem, source)).cells}


def _worth(verdict: dict[str, Any], judge: LabCell) -> dict[str, Any]:
    """A verdict with the points that its judge gives now."""
    most, shares = float(judge.points), judge.parts
    earned = {p["part"] for p in verdict["parts"] if p["points"] > 0}
    if shares and most:
        points = float(sum(worth for part, worth in shares.items() if part in earned))
    else:
        points = most if verdict["status"] == "passed" else 0.0
    parts = [
        {"part": part, "points": worth if part in earned else 0.0, "max_points": worth}
        for part, worth in shares.items()
    ]
    told, message = _told(verdict["points"], verdict["max_points"]), verdict["message"]
    if message.startswith(told):
        message = _told(points, most) + message.removeprefix(told)
    new = {"points": points, "max_points": most, "parts": parts, "message": message}
    return dict(verdict) | new


def _told(points: float, most: float) -> str:
    """How a message on an exercise begins of which only some parts were earned."""
    return f"{points:g} of {most:g} points, for "
