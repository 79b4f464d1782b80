"""Exemptions: one student need not do one exercise, which then leaves score and maximum.

nbgrader has no field for it. DIR/exemptions.csv says who is exempt from what, one a line. In the
gradebook the exempt exercise's points are set to 0 as if by hand, and its comment says so; so
formgrader, the late policy and nbgrader's own exporter count no points for it. nbgrader has one
maximum a lab, the class's: its exporter shows the exempt student's score beside that one, while
grades.csv, feedback pages, the report and ``labs export`` show the student's own.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from nbgrader.api import Comment, Grade, Gradebook, MissingEntry, SubmittedAssignment

from labsupport.errors import CourseError
from labsupport.grading.ledger.kept import Pair

FILE = "exemptions.csv"
COLUMNS = ("lab", "student", "exercise", "points_before")
COMMENT = "Exempt: this exercise does not count."


@dataclass(frozen=True)
class Exemption:
    """``points_before``: what a person had given by hand, which comes back when it is revoked."""

    lab: str
    student: str
    exercise: str
    points_before: str = ""

    @property
    def cells(self) -> tuple[str, str]:
        """What nbgrader may call the exercise's points: judged, or graded by hand."""
        return f"judge-{self.exercise}", f"answer-{self.exercise}"

    @property
    def commented(self) -> tuple[str, str]:
        """What nbgrader may call the cell that a comment on it belongs to."""
        return f"exercise-{self.exercise}", f"answer-{self.exercise}"


def read_exemptions(folder: Path) -> list[Exemption]:
    """Who is exempt from what in a course, in the file's order; a person may edit it.

    Raises CourseError where it is no such table.
    """
    path = folder / FILE
    if not path.exists():
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if not set(COLUMNS[:3]) <= set(table.fieldnames or ()):
            raise CourseError(
                f"{path} does not begin with the columns {','.join(COLUMNS)}, with commas between "
                "them: mend that, then run again"
            )
        lines = [[(line.get(name) or "").strip() for name in COLUMNS] for line in table]
    stems = sorted(place.stem for place in (folder / "labs").glob("[0-9][0-9]_*.py"))
    whole = {stem[:2]: stem for stem in stems}
    return [Exemption(whole.get(lab, lab), *rest) for lab, *rest in lines]


def write_exemptions(folder: Path, exemptions: Iterable[Exemption]) -> None:
    """Write the file anew, whole."""
    from labsupport.files import write_whole

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(one) for one in exemptions)
    write_whole(folder / FILE, text.getvalue())


def exempt_cells(folder: Path) -> dict[Pair, set[str]]:
    """The grade cells that do not count, by (lab, student)."""
    found: dict[Pair, set[str]] = {}
    for one in read_exemptions(folder):
        found.setdefault((one.lab, one.student), set()).update(one.cells)
    return found


def leave_out(gradebook: Gradebook, submission: SubmittedAssignment, exempt: set[str]) -> None:
    """No points, and nothing to grade by hand, for what does not count: what a student is exempt
    from, and an exercise that has no points any more."""
    for grade in _grades(submission):
        if grade.cell.name in exempt or grade.cell.max_score == 0:
            if grade.cell.name in exempt:
                grade.manual_score = 0.0
            grade.needs_manual_grade = False
    gradebook.db.commit()


def grant(gradebook: Gradebook, one: Exemption) -> Exemption:
    """Apply an exemption to the gradebook; the exemption as it is to be written down."""
    try:
        submission = gradebook.find_submission(one.lab, one.student)
    except MissingEntry:
        return one  # nothing was handed in yet: a run applies it then
    for grade in _grades(submission):
        if grade.cell.name in one.cells and grade.manual_score is not None:
            one = replace(one, points_before=f"{grade.manual_score:g}")
    for comment in _comments(submission, one):
        if not comment.manual_comment:
            comment.manual_comment = COMMENT
    leave_out(gradebook, submission, set(one.cells))
    return one


def revoke(gradebook: Gradebook, one: Exemption) -> None:
    """The exercise counts again, with what had been given for it by hand."""
    try:
        submission = gradebook.find_submission(one.lab, one.student)
    except MissingEntry:
        return
    for grade in _grades(submission):
        if grade.cell.name in one.cells:
            grade.manual_score = float(one.points_before) if one.points_before else None
            grade.needs_manual_grade = grade.manual_score is None and grade.auto_score is None
    for comment in _comments(submission, one):
        if comment.manual_comment == COMMENT:
            comment.manual_comment = None
    gradebook.db.commit()


def _grades(submission: SubmittedAssignment) -> list[Grade]:
    return [grade for notebook in submission.notebooks for grade in notebook.grades]


def _comments(submission: SubmittedAssignment, one: Exemption) -> list[Comment]:
    every = [comment for notebook in submission.notebooks for comment in notebook.comments]
    return [comment for comment in every if comment.cell.name in one.commented]
