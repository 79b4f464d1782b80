"""Why an answer failed, where the reason lies outside of the call that failed: a cell that stopped
before it was done, or a machine that is not the student's."""

import re
from dataclasses import replace

from labsupport.answers.findings import Finding
from labsupport.answers.text import one_line
from labsupport.course.lab import LabCell
from labsupport.grading.running.run import Execution
from labsupport.grading.submission.cell_code import names_set, tree_of
from labsupport.grading.submission.timing_magics import cell_magic

ON_CPU = (
    'grading runs on a CPU: leave out .cuda(), .to("cuda") and "mps", or use the device of what '
    "is given (x.device)"
)
_GPU = re.compile(
    r"\bcuda\b|\bnvidia\b|\bmps\b (backend|device)|\bhip\b gpus|\bxpu\b|"
    r"device string: '?(mps|cuda)|'(mps|cuda)' device|device type: (mps|cuda)",
    re.I,
)
_UNDEFINED = re.compile(r"^(\w+) is not defined in the notebook|^NameError: name '(\w+)' is not")
_UNREADABLE = re.compile(r" \([^()]*, line (\d+)\)$")  # of a SyntaxError
# Modules that are there only where a notebook was written.
_ELSEWHERE = {
    "google": "google.colab is there on Colab only: take the line out of the exercise's cell",
    "kaggle_secrets": "it is there on Kaggle only: take the line out of the exercise's cell",
}


class Causes:
    """The errors of the student's own cells in one run."""

    def __init__(self, run: Execution, origins: list[int], sources: list[str], roles: list):
        self._own: dict[str, str] = {}  # exercise -> what stopped its cell
        self._defining: dict[str, str] = {}  # name -> what stopped the cell that sets it
        for cell, origin in zip(run.notebook.cells, origins, strict=True):
            role: LabCell | None = roles[origin]
            if cell.cell_type != "code" or (role is not None and role.kind != "exercise"):
                continue
            said = _stopped(cell.get("outputs", []), sources[origin])
            if not said:
                continue
            if role is not None:
                self._own.setdefault(role.name, said)
            for name in names_set(sources[origin]):
                self._defining.setdefault(name, said)

    def explained(self, exercise: str, found: Finding) -> Finding:
        """A finding with the first reason first."""
        undefined = _UNDEFINED.match(found.text)
        if undefined:
            name = undefined[1] or undefined[2]
            said = self._defining.get(name) or (self._own.get(exercise) if undefined[1] else None)
            if said:
                text = f"{said}; so {name} is not defined"
                found = replace(found, status="error", text=text, cause="raised")
        if found.status in ("error", "missing", "failed") and _GPU.search(found.text):
            found = replace(found, text=f"{ON_CPU} ({found.text})")
        return found


def _stopped(outputs: list, source: str) -> str:
    """What stopped a cell, in one line, or ""."""
    error = next((o for o in outputs if o.get("output_type") == "error"), None)
    if error is not None:
        said = one_line(
            f"{error.get('ename')}: {_with_line(str(error.get('evalue')), source)}", 300
        )
        missing = re.search(r"No module named '(\w+)", said)
        hint = _ELSEWHERE.get(missing[1]) if missing else None
        return f"its cell stopped with {said}" + (f" ({hint})" if hint else "")
    magic = cell_magic(source)
    if magic and tree_of(source) is not None:
        return f"its cell begins with %%{magic}, and its code is not run as Python here"
    return ""


def _with_line(said: str, source: str) -> str:
    """What Python says of code that it cannot read, with the line itself in place of a file."""
    place = _UNREADABLE.search(said)
    if place is None:
        return said
    lines, number = source.splitlines(), int(place[1])
    code = lines[number - 1].strip() if number <= len(lines) else ""
    return f"{said[: place.start()]} (line {number} of its cell: {code[:80]})"
