"""Grade one submitted notebook: ask, execute, judge, and write the verdicts where a person and
nbgrader look for them. No gradebook here either: notebook in, graded notebook out.
"""

import html
import importlib.metadata
import platform
from dataclasses import dataclass, field

import nbformat
import torch
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_markdown_cell

from labsupport.course.build import student_notebook
from labsupport.grading.judge import AnswerKey, Challenge, Verdict
from labsupport.grading.limits import RunLimits
from labsupport.grading.realign import realign
from labsupport.grading.run import Execution, execute
from labsupport.grading.sandbox.warm import WarmSandbox
from labsupport.grading.sanitise import Patience, clean_markdown, clean_outputs
from labsupport.respond import MIME

# Kinds of cells that are not run when grading: they take long or need a person.
SKIPPED = ("experiment", "widget")
OWN_OUTPUT = "Output as the student handed it in; this cell is not run when grading.\n"


@dataclass
class Graded:
    """A graded notebook with its verdicts, in the order of the lab, and their provenance."""

    notebook: NotebookNode
    verdicts: list[Verdict]
    provenance: dict = field(default_factory=dict)


def grade_notebook(
    key: AnswerKey,
    notebook: NotebookNode,
    submitted: NotebookNode | None = None,
    *,
    seed: str,
    profile: str = "smoke",
    limits: RunLimits | None = None,
    sandbox: WarmSandbox | None = None,
) -> Graded:
    """Grade a sanitised notebook, one that ``realign`` has put in the lab's form.

    ``submitted`` is the notebook as it was handed in: the source of the outputs that are kept,
    and of what is said to have been repaired. ``seed`` decides the inputs, so it is secret and
    differs by student. The graded notebook carries no live script.
    """
    handed_in, repairs = None, []
    if submitted is not None:
        handed_in, repairs = realign(submitted, student_notebook(key.lab))
    kinds = {cell.id: cell for cell in key.lab.cells}
    roles = [kinds.get(_id(cell)) for cell in notebook.cells]
    challenges = {name: key.challenge(name, seed) for name in key.lab.exercises}
    asked = _with_questions(notebook, roles, challenges)
    run = execute(asked, {"PROFILE": profile, "SEED": 0}, limits, sandbox)
    verdicts = _judge(key, run, roles, challenges)
    graded = _with_verdicts(notebook, run, roles, verdicts, handed_in)
    provenance = _provenance(run, profile, sandbox)
    graded.metadata["labsupport_grading"] = {
        "verdicts": [v.as_dict() for v in verdicts.values()],
        "provenance": provenance,
        "repairs": repairs,
    }
    if repairs:
        graded.cells.insert(0, _repair_note(repairs))
    return Graded(graded, list(verdicts.values()), provenance)


def _id(cell: NotebookNode) -> str:
    # nbgrader's id: it has been held against the gradebook, the notebook's own id has not
    about = cell.metadata.get("nbgrader")
    name = about.get("grade_id") if isinstance(about, dict) else None
    return str(name or cell.get("id", ""))


def _with_questions(notebook, roles, challenges: dict[str, Challenge]) -> NotebookNode:
    """The notebook to execute: graded cells ask their challenge, long-running ones are empty."""
    asked = nbformat.from_dict(notebook)
    for cell, role in zip(asked.cells, roles, strict=True):
        if role is None or cell.cell_type != "code":
            continue
        if role.kind == "judge":
            text = challenges[role.name].text
            cell.source = f"from labsupport.respond import respond as _respond\n_respond({text!r})"
        elif role.kind in SKIPPED:
            cell.source = ""
    return asked


def _judge(key: AnswerKey, run: Execution, roles, challenges) -> dict[str, Verdict]:
    verdicts = {}
    for name, challenge in challenges.items():
        places = [i for i, r in enumerate(roles) if r and r.kind == "judge" and r.name == name]
        verdicts[name] = _verdict(key, run, challenge, places)
    return verdicts


def _verdict(key: AnswerKey, run: Execution, challenge: Challenge, places: list[int]) -> Verdict:
    if len(places) != 1:
        what = "is missing from" if not places else "stands more than once in"
        return key.unanswered(challenge, "missing", f"the graded cell {what} the notebook")
    place = places[0]
    shown = [
        o.get("data")
        for o in run.notebook.cells[place].get("outputs", [])
        if o.get("output_type") == "display_data"
    ]
    bundles = [data[MIME] for data in shown if isinstance(data, dict) and MIME in data]
    if len(bundles) > 1:
        return key.unanswered(challenge, "tampered", "the graded cell gave several responses")
    if bundles:
        return key.verdict(challenge, bundles[0] if isinstance(bundles[0], dict) else {})
    if place in run.timeouts:
        return key.unanswered(challenge, "timeout", "took too long and was stopped")
    if place in run.deaths:
        reason = run.deaths[place]
        status = "out of memory" if " MB (" in reason else "crashed"
        return key.unanswered(challenge, status, f"while this exercise ran, {reason}")
    if place >= run.reached:
        message = f"{len(run.deaths)} kernels died in the cells before it"
        return key.unanswered(challenge, "not reached", message)
    return key.verdict(challenge, None)


def _with_verdicts(notebook, run: Execution, roles, verdicts, submitted) -> NotebookNode:
    """The submission as a person reads it: its own cells, executed, with a verdict in each
    graded cell, whose result is the number of points (that is how nbgrader reads a grade)."""
    own = {c.id: c.get("outputs", []) for c in (submitted.cells if submitted else [])}
    graded = nbformat.from_dict(notebook)
    patience = Patience()
    for index, (cell, role) in enumerate(zip(graded.cells, roles, strict=True)):
        if cell.cell_type != "code":
            cell.source = clean_markdown(cell.source)
            continue
        if role is not None and role.kind == "judge":
            cell.outputs = _verdict_outputs(verdicts[role.name])
        elif role is not None and role.kind in SKIPPED:
            cell.outputs = clean_outputs(own.get(cell.get("id"), []), patience)
            if cell.outputs:
                cell.outputs.insert(0, _stream(OWN_OUTPUT))
        else:
            cell.outputs = clean_outputs(run.notebook.cells[index].outputs, patience)
        cell.execution_count = None
    return graded


def _repair_note(repairs: list[str]) -> NotebookNode:
    lines = "\n".join(f"- {html.escape(repair)}" for repair in repairs)
    return new_markdown_cell(f"**Repaired before grading**\n\n{lines}", id="labs-repairs")


def _stream(text: str) -> NotebookNode:
    return nbformat.from_dict({"output_type": "stream", "name": "stdout", "text": text})


def _verdict_outputs(verdict: Verdict) -> list[NotebookNode]:
    """One result: its HTML is for people, its plain text is the grade nbgrader reads."""
    colour = "#1b7837" if verdict.status == "passed" else "#b2182b"
    shown = (
        f'<div style="border-left:4px solid {colour};padding:4px 10px">'
        f"<b>{html.escape(verdict.exercise)}: {html.escape(verdict.status)}</b>, "
        f"{verdict.points:g} of {verdict.max_points:g} points<br>"
        f"{html.escape(verdict.message)}</div>"
    )
    result = {
        "output_type": "execute_result",
        "execution_count": None,
        "metadata": {},
        "data": {"text/plain": f"{verdict.points:g}", "text/html": shown},
    }
    return nbformat.from_dict([result])


def _provenance(run: Execution, profile: str, sandbox: WarmSandbox | None) -> dict:
    return {
        "seconds": round(run.seconds, 2),
        "profile": profile,
        "sandbox": sandbox is not None,
        "deaths": {str(place): reason for place, reason in run.deaths.items()},
        "python": platform.python_version(),
        "torch": torch.__version__,
        "labsupport": importlib.metadata.version("labsupport"),
        "nbgrader": importlib.metadata.version("nbgrader"),
        "papermill": importlib.metadata.version("papermill"),
    }
