"""Results of a lab as the course has them: the gradebook's points, the graded notebooks' verdicts.

What stands in a notebook is checked for its form before it is used: another pipeline, or a
student, may have written it.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry

from labsupport.answers.text import one_line
from labsupport.course.lab import Lab
from labsupport.course.source import find_labs, read_lab
from labsupport.errors import CourseError
from labsupport.grading.judging.verdicts import STATUSES
from labsupport.grading.ledger.course_directory import course_api, load_config
from labsupport.grading.ledger.grades import submissions
from labsupport.grading.submission.reading import unreadable


@dataclass
class Item:
    """Something that gives points. ``cell`` is its name in the gradebook."""

    name: str
    points: float
    cell: str
    by_hand: bool


@dataclass
class Run:
    """One submission. ``points`` by item; None: a person has not graded it yet. ``waiting`` also
    counts what has to be looked at again after a new run. ``problem``: why it has no grade."""

    student: str
    score: float = 0.0  # after any penalty
    penalty: float = 0.0
    late_hours: float = 0.0
    waiting: int = 0
    points: dict[str, float | None] = field(default_factory=dict)
    verdicts: dict[str, tuple[str, str]] = field(default_factory=dict)  # status, message
    hints: dict[str, str] = field(default_factory=dict)  # the diagnosis of a known mistake
    repairs: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    seconds: float | None = None
    sandbox: bool | None = None  # None: not known
    versions: str = ""
    problem: str = ""

    @property
    def graded(self) -> bool:
        return not self.problem


@dataclass
class LabResults:
    """All submissions of one lab, by student id. ``absent`` students handed nothing in."""

    lab: Lab
    items: list[Item]
    runs: list[Run]
    absent: list[str] = field(default_factory=list)

    @property
    def graded(self) -> list[Run]:
        return [run for run in self.runs if run.graded]

    @property
    def max_score(self) -> float:
        return sum(item.points for item in self.items)


def read_results(folder: Path, wanted: list[str] | None = None) -> list[LabResults]:
    """Every wanted lab that something was handed in for; all labs named in ``wanted`` even so.

    Raises CourseError where there is nothing to report on.
    """
    load_config(folder)  # is it a course at all?
    handed_in = submissions(folder)
    stems = {stem for stem, _ in handed_in}
    paths = [p for p in find_labs(folder / "labs", wanted) if wanted or p.stem in stems]
    if not paths:
        raise CourseError(f"nothing was handed in under {folder / 'submitted'}")
    results = []
    with course_api(folder) as api, api.gradebook as gradebook:
        for path in paths:
            students = [student for stem, student in handed_in if stem == path.stem]
            lab = read_lab(path)
            runs = [_run(folder, gradebook, lab, student) for student in students]
            absent = sorted({s.id for s in gradebook.students} - set(students))
            results.append(LabResults(lab, items_of(lab), runs, absent))
    return results


def items_of(lab: Lab) -> list[Item]:
    """What gives points in a lab, in its order."""
    return [
        Item(
            c.name,
            float(c.points),
            f"answer-{c.name}" if c.kind == "question" else c.id,
            c.kind == "question",
        )
        for c in lab.cells
        if c.kind in ("judge", "question") and c.points
    ]


def _run(folder: Path, gradebook: Gradebook, lab: Lab, student: str) -> Run:
    run = Run(student)
    about = _metadata(folder / "autograded" / student / lab.stem / f"{lab.stem}.ipynb")
    try:
        found = gradebook.find_submission(lab.stem, student)
        (notebook,) = found.notebooks
    except (MissingEntry, ValueError):
        found = notebook = None
    if notebook is None or about is None:
        run.problem = unreadable(folder, lab.stem, student) or "not graded yet: run labs grade"
        return run
    run.penalty = float(found.late_submission_penalty or 0)
    run.score = max(0.0, float(found.score) - run.penalty)
    run.late_hours = float(found.total_seconds_late or 0) / 3600
    grades = {grade.name: grade for grade in notebook.grades}
    for item in items_of(lab):
        grade = grades.get(item.cell)
        if grade is not None:
            todo = grade.needs_manual_grade and grade.manual_score is None
            run.points[item.name] = None if todo else float(grade.score)
            run.waiting += bool(grade.needs_manual_grade)
    _read_metadata(run, about)
    return run


def _metadata(path: Path) -> dict | None:
    """A graded notebook's own account of its grading; {} where it has none."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        about = loaded.get("metadata", {}).get("labsupport_grading", {})
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return about if isinstance(about, dict) else {}


def _read_metadata(run: Run, about: dict) -> None:
    for verdict in _list(about.get("verdicts")):
        if isinstance(verdict, dict) and verdict.get("status") in STATUSES:
            name = one_line(verdict.get("exercise", ""), 100)
            run.verdicts[name] = (verdict["status"], one_line(verdict.get("message", "")))
            run.hints[name] = one_line(verdict.get("hint", ""))
    run.repairs = [one_line(r, 300) for r in _list(about.get("repairs"))]
    provenance = about.get("provenance")
    if not isinstance(provenance, dict):
        return
    seconds = provenance.get("seconds")
    if isinstance(seconds, int | float) and math.isfinite(seconds):
        run.seconds = float(seconds)
    if isinstance(provenance.get("sandbox"), bool):
        run.sandbox = provenance["sandbox"]
    deaths = provenance.get("deaths")
    run.deaths = [one_line(d, 200) for d in deaths.values()] if isinstance(deaths, dict) else []
    names = ("labsupport", "nbgrader", "papermill", "torch", "python", "profile")
    run.versions = ", ".join(
        f"{name} {one_line(provenance[name], 40)}" for name in names if name in provenance
    )


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []
