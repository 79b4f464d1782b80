"""Labs and students as an instructor names them on the command line; who is not there is named."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from nbgrader.api import Gradebook

from labsupport.errors import CourseError

MOST = 12  # names that an error lists


def is_wanted(assignment: str, wanted: list[str] | None) -> bool:
    """Whether a lab is among those named, by name or by number."""
    return not wanted or assignment in wanted or assignment[:2] in wanted


def check_labs(folder: Path, wanted: list[str] | None) -> None:
    """Raise CourseError for a lab that the course does not have; the error says which it has."""
    there = sorted(
        {path.stem for path in (folder / "labs").glob("[0-9][0-9]_*.py")}
        | {place.name for place in (folder / "submitted").glob("*/*") if place.is_dir()}
    )
    for name in wanted or []:
        if not any(is_wanted(lab, [name]) for lab in there):
            raise CourseError(
                f"no lab {name!r} in {folder}; there are {_listed(there) or 'none'} "
                "(a student is named with --student)"
            )


def the_lab(gradebook: Gradebook, name: str) -> str:
    """The one released lab of this name or number. Raises CourseError that says which there are."""
    there = sorted(assignment.name for assignment in gradebook.assignments)
    found = [lab for lab in there if is_wanted(lab, [name])]
    if len(found) != 1:
        raise CourseError(f"no lab {name!r} is released; there are {_listed(there) or 'none'}")
    return found[0]


def check_students(there: Iterable[str], wanted: Iterable[str]) -> None:
    """Raise CourseError for a student who is not there; the error says who comes near."""
    known = sorted(set(there))
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3) or known
            raise CourseError(f"no student {name!r}; there are {_listed(near) or 'none'}")


def everybody(folder: Path, gradebook: Gradebook) -> set[str]:
    """Every student of the gradebook and of ``submitted/``."""
    handed_in = {place.parent.name for place in (folder / "submitted").glob("*/*")}
    return handed_in | {student.id for student in gradebook.students}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
