"""Due dates and extra time, in nbgrader's own fields: formgrader and its exchange see them too.

A run of ``labs grade`` works lateness and penalties out anew from them.
"""

import datetime
import re
import warnings
from pathlib import Path

from dateutil.tz import gettz
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.utils import parse_utc
from sqlalchemy.exc import SAWarning

from labsupport.errors import CourseError
from labsupport.grading.ledger.gradebook import db_url
from labsupport.grading.ledger.named import check_students, everybody, the_lab
from labsupport.grading.ledger.settings import load_config


def set_due_date(folder: Path, lab: str, when: str) -> str:
    """Set when a lab is due; what there is to say. ``when`` is in UTC or says its zone; "" takes
    the due date away."""
    due = as_utc(when) if when else None
    with Gradebook(db_url(folder, load_config(folder))) as gradebook:
        stem = the_lab(gradebook, lab)
        gradebook.find_assignment(stem).duedate = due
        gradebook.db.commit()
    return f"{stem} is due {due:%Y-%m-%d %H:%M} UTC" if due else f"{stem} has no due date"


def extend(folder: Path, student: str, lab: str, hours: float) -> str:
    """Give one student this much time past a lab's due date, in all; 0 takes it back."""
    if hours < 0:
        raise CourseError(f"{hours:g} hours: extra time is no less than none")
    with Gradebook(db_url(folder, load_config(folder))) as gradebook:
        stem = the_lab(gradebook, lab)
        check_students(everybody(folder, gradebook), [student])
        due = gradebook.find_assignment(stem).duedate
        if due is None and hours:
            raise CourseError(
                f"{stem} has no due date to go past: set one with 'labs course due DIR {lab} "
                '"2026-01-31 23:59"\''
            )
        _see_to_submission(gradebook, stem, student)
        gradebook.grant_extension(stem, student, hours=hours)
    if not hours:
        return f"{student} has no extra time for {stem}"
    until = due + datetime.timedelta(hours=hours)
    return f"{student} has until {until:%Y-%m-%d %H:%M} UTC for {stem}"


def as_utc(text: str) -> datetime.datetime:
    """A time as nbgrader keeps it: UTC, without a zone. A time without a zone is UTC already.

    nbgrader takes a zone that it does not know for UTC, and an offset after a space too.
    """
    told = re.sub(r"\s+(?=[+-]\d\d?(:?\d\d)?$)", "", text.strip())
    zone = re.search(r"\d\s+([A-Za-z][\w/+-]*)$", told)
    try:
        if zone and gettz(zone[1]) is None:
            raise ValueError
        return parse_utc(told)
    except (ValueError, OverflowError):
        raise CourseError(
            f"{text!r} is no time: write it as '2026-01-31 23:59', in UTC, or with its zone as "
            "'2026-01-31 23:59 +01:00'"
        ) from None


def check_due_dates(gradebook: Gradebook, labs: set[str]) -> None:
    """Raise CourseError for a lab with extra time and no due date, over which nbgrader stumbles."""
    for assignment in gradebook.assignments:
        if assignment.name in labs and assignment.duedate is None:
            extended = [s.student.id for s in assignment.submissions if s.extension is not None]
            if extended:
                names = ", ".join(sorted(extended)[:5])
                raise CourseError(
                    f"{assignment.name} has no due date, but extra time for {names}: give it one "
                    f"with 'labs course due DIR {assignment.name[:2]} \"2026-01-31 23:59\"', then "
                    "run again"
                )


def _see_to_submission(gradebook: Gradebook, stem: str, student: str) -> None:
    """nbgrader keeps extra time with a submission: one that has not been handed in yet begins
    with nothing to grade by hand."""
    try:
        gradebook.find_submission(stem, student)
    except MissingEntry:
        gradebook.update_or_create_student(student)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # nbgrader's own, on every new submission
            submission = gradebook.add_submission(stem, student)
        for grade in (g for n in submission.notebooks for g in n.grades):
            grade.needs_manual_grade = False
        gradebook.db.commit()
