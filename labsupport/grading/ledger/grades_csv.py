"""grades.csv: nbgrader's columns, whose names and order its exporter gives, then ours.

Where there is no grade to give, the points are blank and ``state`` and ``reason`` say why.
"""

import csv
import io
from pathlib import Path

from nbgrader.api import Gradebook

from labsupport.grading.ledger.gradebook import db_url
from labsupport.grading.ledger.settings import load_config
from labsupport.grading.ledger.standing import Standing, standings

NBGRADERS = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
)
OURS = ("state", "waiting", "late", "reason", "repaired")


def export(folder: Path) -> Path:
    """Write ``DIR/grades.csv``, whole, a line for every student and lab."""
    from labsupport.files import write_whole

    folder = folder.resolve()
    with Gradebook(db_url(folder, load_config(folder))) as gradebook:
        due = {assignment.name: assignment.duedate for assignment in gradebook.assignments}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*NBGRADERS, *OURS))
    for one in standings(folder):
        writer.writerow([_field(value) for value in _line(one, due.get(one.assignment))])
    write_whole(folder / "grades.csv", text.getvalue())
    return folder / "grades.csv"


def lateness(one: Standing) -> str:
    """How late something was handed in, as a person says it: "1 min", "49 h", "5 d"."""
    seconds = one.late_seconds
    if seconds <= 0:
        return f"late, says {one.late_said}" if one.late_said else ""
    if seconds < 3600:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.0f} h" if seconds < 4 * 86400 else f"{seconds / 86400:.0f} d"


def _line(one: Standing, due) -> list:
    graded = one.score is not None
    return [
        one.assignment,
        due,
        one.timestamp,
        one.student,
        one.last_name,
        one.first_name,
        one.email,
        one.raw_score,
        one.penalty if graded else None,
        one.score,
        one.max_score,
        one.state,
        one.waiting or None,
        lateness(one),
        one.reason,
        one.repaired,
    ]


def _field(value) -> str:
    """As nbgrader writes it; a student's words are never a spreadsheet's formula."""
    if value is None:
        return ""
    text = str(value)
    harmless = not isinstance(value, str) or text[:1] not in ("=", "+", "-", "@", "\t", "\r")
    return text if harmless else f"'{text}"
