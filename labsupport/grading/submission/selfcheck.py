"""Checks for a student's own look at a notebook: run it and read off its visible checks."""

import re
from dataclasses import dataclass
from pathlib import Path

from nbformat.notebooknode import NotebookNode

from labsupport.grading.running.run import execute
from labsupport.grading.submission.reading import read_submission
from labsupport.grading.submission.submission import SKIPPED

MOST_LINES, LONGEST = 8, 400  # of a message


@dataclass
class CheckResult:
    exercise: str
    passed: bool
    message: str


def run_checks(path: Path, profile: str = "smoke") -> list[CheckResult]:
    """Run a notebook without its experiments and return one result for each check cell."""
    notebook, _ = read_submission(path.read_bytes())
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
