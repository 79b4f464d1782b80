"""Results of a lab as the course has them: the gradebook's points, the graded notebooks' verdicts.

What stands in a notebook is checked for its form before it is used: another pipeline, or a
student, may have written it.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbgrader.api import Grade, Gradebook, MissingEntry

from labsupport.answers.text import one_line
from labsupport.course.lab import Lab
from labsupport.course.source import find_labs, read_lab
from labsupport.errors import CourseError
from labsupport.grading.judging.verdicts import STATUSES
from labsupport.grading.ledger.course_directory import course_api, load_config
from labsupport.grading.ledger.exemptions import exempt_cells
from labsupport.grading.ledger.grades import submissions
from labsupport.grading.ledger.standing import NOT_YET, Standing, standings
from labsupport.grading.submission.reading import unreadable

UNANSWERED = ("missing", "not reached")  # no answer, rather than a wrong one


@dataclass
class Item:
    """Something that gives points. ``cell`` is its name in the gradebook."""

    name: str
    points: float
    cell: str
    by_hand: bool


@dataclass
class Run:
    """One submission. ``points`` by item; None: it waits for a person. ``blank``: items that were
    not answered, ``exempt``: those that the student need not do. ``late``: who says that it is,
    where no time is known. ``problem``: why it has no grade."""

    student: str
    name: str = ""
    score: float = 0.0  # after any penalty
    max_score: float = 0.0
    penalty: float = 0.0
    late_hours: float = 0.0
    late: str = ""
    waiting: int = 0
    points: dict[str, float | None] = field(default_factory=dict)
    blank: set[str] = field(default_factory=set)
    exempt: set[str] = field(default_factory=set)
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

    @property
    def is_late(self) -> bool:
        return self.late_hours > 0 or bool(self.late)


@dataclass
class LabResults:
    """All submissions of one lab, by student id. ``absent`` students handed nothing in. ``names``
    by student, as far as they are known and wanted."""

    lab: Lab
    items: list[Item]
    runs: list[Run]
    absent: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def who(self, student: str) -> str:
        """A student as people speak of them: the id, and the name where there is one."""
        name = self.names.get(student, "")
        return f"{student} ({name})" if name and name != student else student

    @property
    def graded(self) -> list[Run]:
        return [run for run in self.runs if run.graded]

    @property
    def max_score(self) -> float:
        return sum(item.points for item in self.items)


def read_results(
    folder: Path, wanted: list[str] | None = None, named: bool = True
) -> list[LabResults]:
    """Every wanted lab that something was handed in for; all labs named in ``wanted`` even so.

    Students' names are left out unless ``named``. Raises CourseError where there is nothing to
    report on.
    """
    load_config(folder)  # is it a course at all?
    handed_in = submissions(folder)
    stems = {stem for stem, _ in handed_in}
    paths = [p for p in find_labs(folder / "labs", wanted) if wanted or p.stem in stems]
    if not paths:
        raise CourseError(f"nothing was handed in under {folder / 'submitted'}")
    results = []
    with course_api(folder) as api, api.gradebook as gradebook:
        known = {(one.assignment, one.student): one for one in standings(folder)}
        names = _names(known.values()) if named else {}
        exempt = exempt_cells(folder)
        for path in paths:
            lab = read_lab(path)
            runs = [
                _run(folder, gradebook, lab, one, exempt.get(pair, set()))
                for pair in handed_in
                if pair[0] == path.stem and (one := known.get(pair))
            ]
            students = {run.student for run in runs}
            absent = sorted({s.id for s in gradebook.students} - students)
            for run in runs:
                run.name = names.get(run.student, "")
            results.append(LabResults(lab, items_of(lab), runs, absent, names))
    return results


def _names(known: Iterable[Standing]) -> dict[str, str]:
    found = {one.student: f"{one.first_name} {one.last_name}".strip() for one in known}
    return {student: one_line(name, 100) for student, name in found.items() if name}


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


def _run(folder: Path, gradebook: Gradebook, lab: Lab, one: Standing, exempt: set[str]) -> Run:
    run = Run(one.student)
    about = _metadata(folder / "autograded" / one.student / lab.stem / f"{lab.stem}.ipynb")
    if one.score is None or about is None:
        said = one.reason if one.state in ("unreadable", "failed") else ""
        run.problem = said or unreadable(folder, lab.stem, one.student) or NOT_YET
        return run
    run.score, run.max_score, run.penalty = one.score, one.max_score, one.penalty
    run.late_hours, run.late, run.waiting = one.late_seconds / 3600, one.late_said, one.waiting
    grades = _grades(gradebook, lab.stem, one.student)
    _read_metadata(run, about)
    for item in items_of(lab):
        grade = grades.get(item.cell)
        if item.cell in exempt:
            run.exempt.add(item.name)
        elif grade is not None:
            unknown = grade.needs_manual_grade and grade.manual_score is None
            run.points[item.name] = None if unknown else float(grade.score)
            verdict = run.verdicts.get(item.name, ("",))[0]
            if _is_blank(grade) if item.by_hand else verdict in UNANSWERED:
                run.blank.add(item.name)
    return run


def _grades(gradebook: Gradebook, stem: str, student: str) -> dict[str, Grade]:
    try:
        notebooks = gradebook.find_submission(stem, student).notebooks
    except MissingEntry:
        return {}
    return {grade.name: grade for notebook in notebooks for grade in notebook.grades}


def _is_blank(grade: Grade) -> bool:
    """Whether a written answer was left as it was: nbgrader itself gives it 0 points then."""
    return grade.manual_score is None and grade.auto_score == 0 and not grade.needs_manual_grade


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
