"""Checks for a student's own look at a notebook: run it and read off its visible checks."""

import re
from dataclasses import dataclass
from pathlib import Path

from nbformat.notebooknode import NotebookNode

from labsupport.errors import LabError
from labsupport.grading.running.run import execute
from labsupport.grading.submission.questions import SKIPPED
from labsupport.grading.submission.reading import Unreadable, read_submission

MOST_LINES, LONGEST = 8, 400  # of a message


@dataclass
class CheckResult:
    exercise: str
    passed: bool
    message: str


def run_checks(path: Path, profile: str = "smoke") -> list[CheckResult]:
    """Run a notebook without its experiments and return one result for each check cell.

    Raises LabError for a file in which there is none to be found.
    """
    try:
        notebook, _ = read_submission(path.read_bytes())
    except Unreadable as error:
        raise LabError(f"{path.name} {error.reason}") from None
    if not any(
        cell.metadata.get("labsupport", {}).get("kind") == "check" for cell in notebook.cells
    ):
        raise LabError(
            f"{path.name} has no visible check that can be recognised: it is no lab's notebook, or "
            "an editor has left out what its cells say of themselves; copy your code into a fresh "
            "copy of the lab"
        )
    for cell in notebook.cells:
        if cell.metadata.get("labsupport", {}).get("kind") in (*SKIPPED, "judge"):
            cell.source = ""
    run = execute(notebook, {"PROFILE": profile, "SEED": 0})
    results = []
    for index, cell in enumerate(run.notebook.cells):
        about = cell.metadata.get("labsupport", {})
        if about.get("kind") != "check":
            continue
        errors = [o for o in cell.outputs if o.output_type == "error"]
        if index in run.deaths or index >= run.reached:
            results.append(CheckResult(about["name"], False, "the kernel died before or in it"))
        elif errors:
            results.append(CheckResult(about["name"], False, _message(about["name"], errors[0])))
        else:
            text = "".join(o.get("text", "") for o in cell.outputs).strip().splitlines()
            results.append(CheckResult(about["name"], True, text[-1] if text else ""))
    return results


def _message(exercise: str, error: NotebookNode) -> str:
    """What a failed check says, in a few lines: headline, expected and got, the likely cause."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", error.evalue)
    if error.ename != "CheckFailed":
        text = f"{error.ename}: {text}"
    lines = text.removeprefix(f"{exercise}: ").splitlines()
    return "\n".join(line[:LONGEST] for line in lines[:MOST_LINES])
