"""Points of a graded notebook, put by what its lab gives now.

What was found of a submission is kept; what each part of it is worth may change later. The verdicts
say which parts were earned, so nothing is run again.
"""

import copy
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from labsupport.course.build import dump, student_notebook
from labsupport.course.lab import Lab, LabCell
from labsupport.course.source import parse_lab
from labsupport.grading.submission.verdict_cells import verdict_outputs


def with_points(graded: str, stem: str, source: str) -> str:
    """A graded notebook, as JSON, with the points of a lab's source; the same text where they are
    the same already."""
    lab = parse_lab(source, Path(f"{stem}.py"))
    notebook = nbformat.reads(graded, as_version=4)
    verdicts = notebook.metadata["labsupport_grading"]["verdicts"]
    if not _differ(notebook, verdicts, lab):
        return graded
    worth = {v["exercise"]: _worth(v, lab.one("judge", v["exercise"])) for v in verdicts}
    released = {cell.id: cell for cell in student_notebook(lab).cells}
    for cell in notebook.cells:
        about = cell.metadata.get("labsupport", {})
        if about.get("kind") in ("judge", "answer") and cell.id in released:
            cell.metadata = copy.deepcopy(released[cell.id].metadata)  # points, checksum
        if about.get("kind") == "judge" and about.get("name") in worth:
            cell.source = released[cell.id].source
            cell.outputs = verdict_outputs(worth[about["name"]])
    notebook.metadata["labsupport_grading"]["verdicts"] = list(worth.values())
    return dump(notebook)


def _differ(notebook: NotebookNode, verdicts: list[dict], lab: Lab) -> bool:
    now = {c.id: float(c.points) for c in lab.of("judge")}
    now |= {f"answer-{c.name}": float(c.points) for c in lab.of("question")}
    found = {
        cell.id: float(cell.metadata["nbgrader"]["points"])
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }
    parts = {v["exercise"]: {p["part"]: p["max_points"] for p in v["parts"]} for v in verdicts}
    return found != now or parts != {c.name: c.parts for c in lab.of("judge")}


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
