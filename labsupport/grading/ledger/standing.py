"""Standing of every student in every lab: the one place from which grades go anywhere.

The gradebook's points, the reasons why there are none, names, lateness. grades.csv, the report and
the files for a learning platform are made of it, so that they agree.
"""

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nbgrader.api import (
    Assignment,
    Grade,
    Gradebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)
from sqlalchemy.orm import selectinload, undefer

from labsupport.grading.ledger.exemptions import exempt_cells
from labsupport.grading.ledger.gradebook import db_url
from labsupport.grading.ledger.kept import Pair
from labsupport.grading.ledger.named import is_wanted
from labsupport.grading.ledger.settings import load_config
from labsupport.grading.ledger.troubles import is_handed_in_again, trouble_of

State = Literal["graded", "waiting", "not handed in", "unreadable", "failed"]
LATE_FILE = "late.txt"  # who says that it is late, where the time is not known
NOT_YET = "not graded yet: run 'labs grade'"


@dataclass(frozen=True)
class Standing:
    """One student's standing in one lab; what is not known of a person is "".

    ``score`` is after any penalty, and None where there is no grade to give: nothing was handed
    in, it cannot be read, grading it failed, or it (or what was handed in since) has not been
    graded yet. In the state "waiting" a score is what is known so far, and ``waiting`` answers are
    still to be graded by hand.
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
    late_said: str = ""  # who says that it was late, where no time is known: "Canvas"
    reason: str = ""
    repaired: str = ""


def standings(folder: Path, wanted: list[str] | None = None) -> list[Standing]:
    """Every student of the gradebook and of ``submitted/`` in every released lab, by lab and
    student. ``wanted``: labs by name or number."""
    folder = folder.resolve()
    return sorted(_standings(folder, wanted), key=lambda one: (one.assignment, one.student))


def _standings(folder: Path, wanted: list[str] | None) -> Iterator[Standing]:
    exempt = exempt_cells(folder)
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
            assignment = released.get(lab)
            submissions = _submissions(gradebook, assignment)
            for student in everybody:
                pair = lab, student
                one = _begun(
                    pair,
                    people.get(student),
                    assignment,
                    submissions.get(student),
                    exempt.get(pair, set()),
                )
                yield _finished(
                    folder,
                    one,
                    submissions.get(student),
                    exempt.get(pair, set()),
                    pair in handed_in,
                )


def _begun(
    pair: Pair,
    person: Student | None,
    lab: Assignment | None,
    submission: SubmittedAssignment | None,
    exempt: set[str],
) -> Standing:
    """What is known of a student in a lab besides the grade."""
    return Standing(
        pair[1],
        pair[0],
        "waiting",
        first_name=_text(person, "first_name"),
        last_name=_text(person, "last_name"),
        email=_text(person, "email"),
        lms_user_id=_text(person, "lms_user_id"),
        max_score=_maximum(lab, exempt),
        timestamp=submission.timestamp if submission else None,
        late_seconds=seconds_late(submission) if submission else 0.0,
    )


def _finished(
    folder: Path,
    one: Standing,
    submission: SubmittedAssignment | None,
    exempt: set[str],
    handed_in: bool,
) -> Standing:
    """The same with the grade, or why there is none."""
    pair = one.assignment, one.student
    every = [g for n in submission.notebooks for g in n.grades] if submission else []
    grades = [g for g in every if g.cell.name not in exempt]
    is_graded = any(g.auto_score is not None or g.manual_score is not None for g in grades)
    extra = sum(g.extra_credit or 0 for g in every if g.cell.name in exempt)  # a gift stays one
    raw = float(sum(g.score for g in grades) + extra)
    penalty = float(submission.late_submission_penalty or 0) if submission else 0.0
    score = max(0.0, raw - penalty)
    trouble = trouble_of(folder, pair) if handed_in else None
    if trouble is not None:
        kept = f" (the gradebook keeps an earlier grade, {score:g} points)" if is_graded else ""
        return replace(one, state=trouble.kind, reason=trouble.reason + kept)
    if not handed_in and not is_graded:
        return replace(one, state="not handed in", reason="nothing was handed in")
    if handed_in and is_graded and is_handed_in_again(folder, pair):
        reason = f"handed in again since it got {score:g} points: run 'labs grade'"
        return replace(one, reason=reason)
    late_said = _late_said(folder, pair) if handed_in and one.timestamp is None else ""
    if not is_graded:
        return replace(one, late_said=late_said, reason=NOT_YET)
    about = _graded(folder, pair)
    if not _has_points(grades, about):
        return replace(one, late_said=late_said, reason="points have changed: run 'labs grade'")
    waiting = sum(bool(g.needs_manual_grade) for g in grades)
    said = ["nothing was filled in"] if _is_blank(grades, about) else []
    if waiting:
        said.append(f"{waiting} answer{'s' * (waiting > 1)} to grade by hand")
    left_out = sorted(g.cell.name.partition("-")[2] for g in every if g.cell.name in exempt)
    if left_out:
        said.append(f"exempt from {', '.join(left_out)}")
    return replace(
        one,
        state="waiting" if waiting else "graded",
        score=score,
        raw_score=raw,
        penalty=penalty,
        waiting=waiting,
        late_said=late_said,
        reason="; ".join(said),
        repaired="; ".join(" ".join(str(r).split()) for r in about.get("repairs") or []),
    )


def seconds_late(submission: SubmittedAssignment) -> float:
    """Seconds past the due date with its extension; nbgrader stumbles over an extension of a lab
    that has no due date."""
    if submission.assignment.duedate is None:
        return 0.0
    return float(submission.total_seconds_late)


def _submissions(gradebook: Gradebook, lab: Assignment | None) -> dict[str, SubmittedAssignment]:
    """A lab's submissions by student, with their grades, in a few queries for a whole class."""
    if lab is None:
        return {}
    grades = selectinload(SubmittedAssignment.notebooks).selectinload(SubmittedNotebook.grades)
    query = gradebook.db.query(SubmittedAssignment).options(
        undefer(SubmittedAssignment.late_submission_penalty), grades.selectinload(Grade.cell)
    )
    found = query.filter(SubmittedAssignment.assignment_id == lab.id)
    return {submission.student_id: submission for submission in found}


def _maximum(lab: Assignment | None, exempt: set[str]) -> float:
    if lab is None:
        return 0.0
    cells = [c for n in lab.notebooks for c in (*n.grade_cells, *n.task_cells)]
    return float(sum(c.max_score for c in cells if c.name not in exempt))


def _graded(folder: Path, pair: Pair) -> dict[str, Any]:
    """What a graded notebook says of its grading, {} where it says nothing."""
    assignment, student = pair
    path = folder / "autograded" / student / assignment / f"{assignment}.ipynb"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))["metadata"]["labsupport_grading"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _has_points(grades: list[Grade], about: dict[str, Any]) -> bool:
    """Whether the verdicts are worth what the gradebook says that their exercises are worth."""
    worth = {f"judge-{v['exercise']}": v["max_points"] for v in _verdicts(about)}
    return all(worth.get(g.cell.name, g.cell.max_score) == g.cell.max_score for g in grades)


def _verdicts(about: dict[str, Any]) -> list[dict[str, Any]]:
    found = about.get("verdicts")
    wanted = {"exercise", "status", "max_points"}
    return [v for v in found or [] if isinstance(v, dict) and wanted <= v.keys()]


def _is_blank(grades: list[Grade], about: dict[str, Any]) -> bool:
    """Whether a notebook was handed in as it was given out, for which 0 is no verdict on work."""
    statuses = {str(v["status"]) for v in _verdicts(about)}
    return statuses == {"missing"} and not any(g.score for g in grades)


def _late_said(folder: Path, pair: Pair) -> str:
    """Who says that a submission is late of which no time is known: no penalty is guessed."""
    assignment, student = pair
    path = folder / "submitted" / student / assignment / LATE_FILE
    try:
        said = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    who = " ".join(said.split()).removeprefix("late, says ")
    return who[:80] or "the learning platform"


def _text(person: Student | None, name: str) -> str:
    return str(getattr(person, name, None) or "")
