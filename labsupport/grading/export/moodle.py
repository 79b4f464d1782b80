"""Moodle's offline grading worksheet of one assignment, filled in for its upload.

Moodle finds a person by ``Identifier`` ("Participant 12345"), reads ``Grade`` and the feedback
comment, and compares "Last modified (grade)"; it ignores a grade above the maximum or of somebody
whose grade cannot be changed, without a word, so both are left out here and named. The headings
are in the site's language: ``--heading identifier=ID`` says them.
Source: Moodle's mod/assign/feedback/offline/importgradeslib.php and locallib.php.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from labsupport.errors import CourseError
from labsupport.grading.export.giving import (
    Exported,
    Line,
    Rules,
    comment,
    given,
    how,
    scale_note,
    with_source,
)
from labsupport.grading.export.people import Person, Row, match
from labsupport.grading.export.sheet import Sheet, read_sheet
from labsupport.grading.ledger.feedback import number
from labsupport.grading.ledger.standing import Standing

HEADINGS = {
    "identifier": "Identifier",
    "name": "Full name",
    "email": "Email address",
    "id": "ID number",
    "grade": "Grade",
    "maximum": "Maximum grade",
    "changeable": "Grade can be changed",
    "comments": "Feedback comments",
}
_NUMBER = re.compile(r".*?(\d+)\s*")


def headings(options: Iterable[str]) -> dict[str, str]:
    """The headings, with those that ``--heading NAME=TEXT`` says in place of English ones."""
    found = dict(HEADINGS)
    for option in options:
        name, equals, text = option.partition("=")
        if not equals or name.strip() not in HEADINGS:
            raise CourseError(
                f"--heading {option!r}: say NAME=TEXT, with a NAME of {', '.join(HEADINGS)}"
            )
        found[name.strip()] = text.strip()
    return found


def fill(
    path: Path,
    lab: str,
    standings: dict[tuple[str, str], Standing],
    people: list[Person],
    rules: Rules,
    named: dict[str, str],
) -> tuple[Sheet, Exported, dict[str, tuple[str, str]]]:
    """The worksheet filled in, what became of everybody, and (number, name) in it by student.

    ``named``: its headings. Raises CourseError where it is no grading worksheet.
    """
    sheet = read_sheet(path)
    places = {key: sheet.column(text) for key, text in named.items()}
    for key in ("identifier", "grade"):
        if places[key] is None:
            raise CourseError(
                f"{path} is no grading worksheet of Moodle's: it has no column "
                f"{named[key]!r}; if it is in another language, say --heading {key}=TEXT; it has: "
                f"{'; '.join(sheet.header)}"
            )
    result = Exported("Moodle")
    rows = [_row(index, cells, places) for index, cells in enumerate(sheet.rows)]
    found = match(rows, people)
    packed = {}
    for row in rows:
        student = found.found.get(row.index)
        if student is None:
            result.lines.append(Line("", "", row.name, note=found.doubts[row.index]))
            continue
        one, cells = standings.get((lab, student)), sheet.rows[row.index]
        line = _fill(sheet, cells, places, one, rules)
        line.lab, line.student, line.name = lab, student, row.name
        line.note = with_source(line, found.by[row.index])
        result.lines.append(line)
        if one and line.written:
            most = _value(sheet, cells, places["maximum"])
            result.note(scale_note(lab, one, most, rules, "Moodle"))
            packed[student] = (row.number, row.name)
    result.lines += [
        Line(lab, person.student, person.name, note=f"no row of {path.name} is this student's")
        for person in found.without_row(people)
    ]
    result.notes = [note for note in result.notes if note]
    return sheet, result, packed


def folder_of(number_of: str, name: str) -> str:
    """What Moodle calls a person's folder in the zip file that it takes feedback from."""
    clean = re.sub(r"[\x00-\x1f/\\:*?\"<>|]", "", name.replace("_", " ")).strip() or "Participant"
    return f"{clean}_{number_of}_assignsubmission_file_"


def _fill(sheet: Sheet, cells: list[str], places: dict, one, rules: Rules) -> Line:
    line, cell = Line("", ""), cells[places["grade"]].strip()
    if (place := places["changeable"]) is not None and cells[place].strip().casefold() == "no":
        line.note = "Moodle says that this grade cannot be changed"
        return line
    most = _value(sheet, cells, places["maximum"])
    value, why = given(one, most, rules)
    if value is not None and most is not None and value > most:
        why = f"{number(value)} is above {number(most)}, which Moodle does not take"
        value = None
    if value is None:
        line.note = f"{why}; Moodle keeps its {cell}" if cell else why
        return line
    line.points = sheet.number(value)
    line.note = how(one, sheet.value(cell), value)
    cells[places["grade"]] = line.points
    if (place := places["comments"]) is not None and not cells[place].strip():
        cells[place] = comment(one) if one and one.score is not None else ""
    return line


def _row(index: int, cells: list[str], places: dict[str, int | None]) -> Row:
    def cell(key: str) -> str:
        place = places[key]
        return "" if place is None else cells[place].strip()

    found = _NUMBER.fullmatch(cell("identifier"))
    number_of = found[1] if found else ""
    keys = [
        ("number", "identifier", number_of),
        ("email", "email address", cell("email")),
        ("id", "ID number", cell("id")),
    ]
    return Row(index, cell("name"), keys, number=number_of)


def _value(sheet: Sheet, cells: list[str], place: int | None) -> float | None:
    return None if place is None else sheet.value(cells[place])
