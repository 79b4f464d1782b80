"""Results of a lab as a course has them: the gradebook's points, the notebooks' verdicts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nbgrader.api import Grade, Gradebook, MissingEntry

from labsupport.answers.text import one_line
from labsupport.course.lab import Lab
from labsupport.course.source import find_labs, read_lab
from labsupport.errors import CourseError
from labsupport.grading.ledger.course_directory import course_api, load_config
from labsupport.grading.ledger.exemptions import exempt_cells
from labsupport.grading.ledger.grades import submissions
from labsupport.grading.ledger.standing import NOT_YET, Standing, standings
from labsupport.grading.report.account import account_of, read_account
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
    about = account_of(folder / "autograded" / one.student / lab.stem / f"{lab.stem}.ipynb")
    if one.score is None or about is None:
        said = one.reason if one.state in ("unreadable", "failed") else ""
        run.problem = said or unreadable(folder, lab.stem, one.student) or one.reason or NOT_YET
        return run
    run.score, run.max_score, run.penalty = one.score, one.max_score, one.penalty
    run.late_hours, run.late, run.waiting = one.late_seconds / 3600, one.late_said, one.waiting
    grades = _grades(gradebook, lab.stem, one.student)
    read_account(run, about)
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
