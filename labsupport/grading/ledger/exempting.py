"""Granting and revoking an exemption: the file, and the gradebook with it."""

from pathlib import Path

from nbgrader.api import Gradebook

from labsupport.course.source import find_labs, read_lab
from labsupport.errors import CourseError
from labsupport.grading.ledger.exemptions import (
    Exemption,
    grant,
    read_exemptions,
    revoke,
    write_exemptions,
)
from labsupport.grading.ledger.gradebook import db_url
from labsupport.grading.ledger.lock import only_run
from labsupport.grading.ledger.named import check_students, everybody, the_lab
from labsupport.grading.ledger.settings import load_config

WAIT_SECONDS = 5  # for a run of 'labs grade' that is about to end


def exempt(folder: Path, student: str, lab: str, exercise: str, undo: bool = False) -> str:
    """Let one student off one exercise, or (``undo``) not; what there is to say.

    Raises CourseError for a student, a lab or an exercise that is not there.
    """
    folder = folder.resolve()
    url = db_url(folder, load_config(folder))
    with only_run(folder, WAIT_SECONDS), Gradebook(url) as gradebook:
        stem = the_lab(gradebook, lab)
        check_students(everybody(folder, gradebook), [student])
        known = read_exemptions(folder)
        mine = [e for e in known if (e.lab, e.student, e.exercise) == (stem, student, exercise)]
        if undo:
            if not mine:
                raise CourseError(f"{student} is not exempt from {exercise} of {stem}")
            for one in mine:
                revoke(gradebook, one)
            write_exemptions(folder, [e for e in known if e not in mine])
            return f"{exercise} of {stem} counts again for {student}"
        (path,) = find_labs(folder / "labs", [stem])
        there = [c.name for c in read_lab(path).cells if c.kind in ("judge", "question")]
        if exercise not in there:
            raise CourseError(f"no exercise {exercise!r} in {stem}; there are {', '.join(there)}")
        if not mine:
            write_exemptions(folder, [*known, grant(gradebook, Exemption(stem, student, exercise))])
    return f"{student} is exempt from {exercise} of {stem}: it leaves score and maximum"
