"""Standing of every student in every lab: the one place from which grades go anywhere.

The gradebook's points, the reasons why there are none, names, lateness. grades.csv, the report and
the files for a learning platform are made of it, so that they agree.
"""

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student, SubmittedAssignment

from labsupport.grading.ledger.course_directory import load_config
from labsupport.grading.ledger.exemptions import exempt_cells
from labsupport.grading.ledger.gradebook import db_url
from labsupport.grading.ledger.troubles import Trouble, read_troubles

State = Literal["graded", "waiting", "not handed in", "unreadable", "failed"]
NOT_YET = "not graded yet: run 'labs grade'"


@dataclass(frozen=True)
class Standing:
    """One student's standing in one lab; what is not known of a person is "".

    ``score`` is after any penalty, and None where there is no grade to give: nothing was handed
    in, it cannot be read, grading it failed, or it has not been graded yet. In the state "waiting"
    a score is what is known so far, and ``waiting`` answers are still to be graded by hand.
    ``max_score`` is this student's own. ``reason`` and ``repaired`` are one line each.
    """

    student: str
    assignment: str
    state: State
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""
    score: float | None = None
    raw_score: float | None = None
    penalty: float = 0.0
    max_score: float = 0.0
    late_seconds: float = 0.0
    timestamp: datetime.datetime | None = None  # UTC, without a zone, as nbgrader keeps it
    waiting: int = 0
    reason: str = ""
    repaired: str = ""


def standings(folder: Path, wanted: list[str] | None = None) -> list[Standing]:
    """Every student of the gradebook and of ``submitted/`` in every released lab, by lab and
    student. ``wanted``: labs by name or number."""
    folder = folder.resolve()
    return sorted(_standings(folder, wanted), key=lambda one: (one.assignment, one.student))


def is_wanted(assignment: str, wanted: list[str] | None) -> bool:
    """Whether a lab is among those named on the command line, by name or by number."""
    return not wanted or assignment in wanted or assignment[:2] in wanted


def _standings(folder: Path, wanted: list[str] | None) -> Iterator[Standing]:
    troubles, exempt = read_troubles(folder), exempt_cells(folder)
    handed_in = {
        (place.name, place.parent.name)
        for place in (folder / "submitted").glob("*/*")
        if place.is_dir()
    }
    with Gradebook(db_url(folder, load_config(folder))) as gradebook:
        people = {student.id: student for student in gradebook.students}
        everybody = people.keys() | {student for _, student in handed_in}
        released = {a.name: a for a in gradebook.assignments if a.notebooks}
        for lab in sorted(released.keys() | {lab for lab, _ in handed_in}):
            if not is_wanted(lab, wanted):
                continue
            for student in everybody:
                pair = lab, student
                yield _standing(
                    folder,
                    gradebook,
                    pair,
                    people.get(student),
                    released.get(lab),
                    exempt.get(pair, set()),
                    troubles.get(pair),
                    pair in handed_in,
                )


def _standing(
    folder: Path,
    gradebook: Gradebook,
    pair: tuple[str, str],
    person: Student | None,
    lab: Assignment | None,
    exempt: set[str],
    trouble: Trouble | None,
    handed_in: bool,
) -> Standing:
    assignment, student = pair
    submission = _submission(gradebook, assignment, student)
    one = Standing(
        student,
        assignment,
        "waiting",
        first_name=_text(person, "first_name"),
        last_name=_text(person, "last_name"),
        email=_text(person, "email"),
        lms_user_id=_text(person, "lms_user_id"),
        max_score=_maximum(lab, exempt),
        timestamp=submission.timestamp if submission else None,
        late_seconds=seconds_late(submission) if submission else 0.0,
    )
    grades = _grades(submission, exempt)
    is_graded = any(g.auto_score is not None or g.manual_score is not None for g in grades)
    raw = float(sum(g.score for g in grades))
    penalty = float(submission.late_submission_penalty or 0) if submission else 0.0
    score = max(0.0, raw - penalty)
    if trouble is not None and handed_in:
        kept = f" (the gradebook keeps an earlier grade, {score:g} points)" if is_graded else ""
        return replace(one, state=trouble.kind, reason=trouble.reason + kept)
    if not handed_in and not is_graded:
        return replace(one, state="not handed in", reason="nothing was handed in")
    if not is_graded:
        return replace(one, reason=NOT_YET)
    waiting = sum(bool(g.needs_manual_grade) for g in grades)
    return replace(
        one,
        state="waiting" if waiting else "graded",
        score=score,
        raw_score=raw,
        penalty=penalty,
        waiting=waiting,
        reason=f"{waiting} answer{'s' * (waiting > 1)} to grade by hand" if waiting else "",
        repaired=_repaired(folder, assignment, student),
    )


def seconds_late(submission: SubmittedAssignment) -> float:
    """Seconds past the due date with its extension; nbgrader stumbles over an extension of a lab
    that has no due date."""
    if submission.assignment.duedate is None:
        return 0.0
    return float(submission.total_seconds_late)


def _submission(gradebook: Gradebook, assignment: str, student: str) -> SubmittedAssignment | None:
    try:
        return gradebook.find_submission(assignment, student)
    except MissingEntry:
        return None


def _grades(submission: SubmittedAssignment | None, exempt: set[str]) -> list:
    if submission is None:
        return []
    return [g for n in submission.notebooks for g in n.grades if g.cell.name not in exempt]


def _maximum(lab: Assignment | None, exempt: set[str]) -> float:
    if lab is None:
        return 0.0
    cells = [c for n in lab.notebooks for c in (*n.grade_cells, *n.task_cells)]
    return float(sum(c.max_score for c in cells if c.name not in exempt))


def _repaired(folder: Path, assignment: str, student: str) -> str:
    path = folder / "autograded" / student / assignment / f"{assignment}.ipynb"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))["metadata"]["labsupport_grading"]
        return "; ".join(" ".join(str(repair).split()) for repair in about["repairs"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _text(person: Student | None, name: str) -> str:
    return str(getattr(person, name, None) or "")
