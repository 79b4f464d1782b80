"""What a platform says of its students, kept in nbgrader's gradebook; nobody's word is replaced."""

from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry

from labsupport.grading.ledger.course_directory import course_api
from labsupport.grading.ledger.gradebook import db_url, open_gradebook

LONGEST = 128  # characters of a column
NAMES = ("first_name", "last_name")


def remember(folder: Path, people: dict[str, dict[str, str]]) -> None:
    """Write names, e-mail and the platform's id of students (by the course's id) where the
    gradebook has none. Raises CourseError where it cannot be opened.
    """
    people = {student: known for student, about in people.items() if (known := _usable(about))}
    if not people:
        return
    with course_api(folder) as api:
        open_gradebook(db_url(folder, api.config))
        _write(api.gradebook, people)


def _write(book: Gradebook, people: dict[str, dict[str, str]]) -> None:
    with book as gradebook:
        for student, about in people.items():
            try:
                person = gradebook.find_student(student)
            except MissingEntry:
                person = gradebook.add_student(student)
            named = any(getattr(person, name) for name in NAMES)
            for field, value in about.items():
                if not getattr(person, field) and not (named and field in NAMES):
                    setattr(person, field, value)
        gradebook.db.commit()


def _usable(about: dict[str, str]) -> dict[str, str]:
    printable = {k: " ".join(v.split()) for k, v in about.items() if v and v.isprintable()}
    return {k: v[:LONGEST] for k, v in printable.items() if v}
