"""Student ids: from what a platform calls a student to what nbgrader can use as a folder's name."""

import csv
import unicodedata
from pathlib import Path

from labsupport.errors import CourseError

COLUMNS = ("lms_id", "student_id")
LONGEST = 100  # bytes: nbgrader adds to it, and a file's name has 255


def safe_id(text: str) -> str:
    """Letters, digits and ``. _ - @`` of any script, NFKC; all else becomes a hyphen; "" where
    nothing is left or it is too long.

    nbgrader puts an id into paths and glob patterns unescaped (``* ? [ /``), separates lists of
    ids by commas and the names of its exchange by ``+``, and strips white space.
    """
    kept = "".join(
        c if unicodedata.category(c)[0] in "LNM" or c in "._@" else "-"
        for c in unicodedata.normalize("NFKC", text)
    )
    kept = "-".join(part for part in kept.split("-") if part).strip(".-_")
    return kept if len(kept.encode()) <= LONGEST else ""


def same(text: str) -> str:
    """A form in which two ways of writing one id are equal, on any file system."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def read_map(path: Path) -> dict[str, list[str]]:
    """From a platform's ids (numbers, names or addresses) to a course's, out of a CSV file with
    the columns ``lms_id`` and ``student_id``. A group's id stands in a line for each member."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from None
    rows = csv.DictReader(text.splitlines())
    if not set(COLUMNS) <= set(rows.fieldnames or []):
        raise CourseError(f"{path} needs a first line with the columns {' and '.join(COLUMNS)}")
    found: dict[str, list[str]] = {}
    for row in rows:
        theirs, ours = ((row[column] or "").strip() for column in COLUMNS)
        if theirs and ours:
            found.setdefault(same(theirs), []).append(ours)
    return found
