"""Canvas' gradebook as Canvas exports it ("Export Entire Gradebook"), filled in for its import.

The file comes back as it was, in columns, order, rows and form; only cells of the labs' columns
change. A person is found by ``ID``, the platform's own number, which ``labs collect`` has kept;
else by SIS id or login. Where there is no grade to give, the cell stays as it is, so that the
import changes nothing there: an empty cell over a grade would delete it.
Source: Canvas' lib/gradebook_exporter.rb and lib/gradebook_importer.rb.
"""

import re
from pathlib import Path

from labsupport.errors import CourseError
from labsupport.grading.export.giving import (
    Exported,
    Line,
    Rules,
    given,
    how,
    scale_note,
    with_source,
)
from labsupport.grading.export.labs import LabName, guess, said
from labsupport.grading.export.people import Person, Row, match
from labsupport.grading.export.sheet import Sheet, plain, read_sheet
from labsupport.grading.ledger.standing import Standing

_ABOUT = {  # columns on the person
    "student",
    "lastname",
    "firstname",
    "id",
    "sis user id",
    "sis login id",
    "integration id",
    "root account",
    "section",
}
_KEYS = (("own", "ID"), ("id", "SIS User ID"), ("login", "SIS Login ID"), ("bare", "ID"))
_POINTS = "points possible"
_POSTING = re.compile(r"\s*(muted|manual posting.*)?\s*", re.I)
_ASSIGNMENT = re.compile(r".*\(\d+\)\s*")
_TEST_STUDENT = "student, test"  # what Canvas' own "Student view" leaves in a gradebook
_KEPT = {"ex": "excused in Canvas (EX)", "n/a": "not assigned to this student in Canvas (N/A)"}


def fill(
    path: Path,
    labs: list[LabName],
    standings: dict[tuple[str, str], Standing],
    people: list[Person],
    rules: Rules,
    columns: list[str],
) -> tuple[Sheet, Exported, dict[int, str]]:
    """The gradebook filled in, what became of everybody, and students by row's ``ID``.

    ``standings`` by (lab, student); ``columns``: what ``--column`` says. Raises CourseError where
    the file is no gradebook of Canvas' or none of its columns is a lab's.
    """
    sheet = read_sheet(path)
    if sheet.column("ID") is None or plain(sheet.header[0]) not in ("student", "lastname"):
        raise CourseError(
            f"{path} is no gradebook of Canvas': its first columns should be Student and ID; take "
            "what 'Export Entire Gradebook' gives"
        )
    result = Exported("Canvas")
    places, possible = _columns(sheet, labs, columns, result)
    rows = _rows(sheet)
    found = match(rows, people)
    by_index = {row.index: row for row in rows}
    for index, row in by_index.items():
        student = found.found.get(index)
        if student is None:
            result.lines.append(Line("", "", row.name, note=found.doubts[index]))
            continue
        for lab, place in places.items():
            one, most = standings.get((lab, student)), possible[lab]
            line = _fill(sheet, row, place, one, most, rules)
            line.lab, line.student = lab, student
            line.note = with_source(line, found.by[index])
            result.lines.append(line)
            if one and line.written:
                result.note(scale_note(lab, one, most, rules, "Canvas"))
    result.lines += [
        Line(lab, person.student, person.name, note=f"no row of {path.name} is this student's")
        for person in found.without_row(people)
        for lab in places
    ]
    result.notes = [note for note in result.notes if note]
    return sheet, result, {index: s for index, s in found.found.items()}


def user_of(sheet: Sheet, index: int) -> str:
    """Canvas' number of the person in a row."""
    return sheet.rows[index][sheet.column("ID") or 0].strip()


def _fill(sheet: Sheet, row: Row, place: int, one, most: float | None, rules: Rules) -> Line:
    cell = sheet.rows[row.index][place].strip()
    line = Line("", "", row.name)
    if plain(cell) in _KEPT:
        line.note = _KEPT[plain(cell)]
        return line
    value, why = given(one, most, rules)
    if value is None:
        line.note = f"{why}; Canvas keeps its {cell}" if cell else why
        return line
    line.points = sheet.number(value)
    line.note = how(one, sheet.value(cell), value)
    sheet.rows[row.index][place] = line.points
    return line


def _columns(
    sheet: Sheet, labs: list[LabName], columns: list[str], result: Exported
) -> tuple[dict[str, int], dict[str, float | None]]:
    """Every lab's column and points, by stem."""
    limits = next((row for row in sheet.rows if plain(row[0]).startswith(_POINTS)), None)
    free = [i for i, title in enumerate(sheet.header) if plain(title) not in _ABOUT]
    free = [i for i in free if limits is None or "read only" not in limits[i].casefold()]
    free = [i for i in free if _ASSIGNMENT.fullmatch(sheet.header[i])] or free
    titles = [sheet.header[i] for i in free]
    places = {}
    for stem, found in guess(labs, titles, said(columns, labs, titles)).items():
        if len(found) == 1:
            places[stem] = free[found[0]]
            continue
        several = ", ".join(dict.fromkeys(titles[i] for i in found))
        why = f"several columns could be it ({several})" if found else "no column is named so"
        result.lines.append(Line(stem, "", note=f"{why}: say --column {stem[:2]}='TITLE'"))
    if not places:
        raise CourseError(
            f"none of the columns of {sheet.path} is certain to be a lab's: say which, as "
            f"--column {labs[0].number or labs[0].stem}='TITLE'; there are: {'; '.join(titles)}"
        )
    possible = {s: sheet.value(limits[i]) if limits else None for s, i in places.items()}
    return places, possible


def _rows(sheet: Sheet) -> list[Row]:
    """The rows that are a student's."""
    about = {name: sheet.column(name) for _, name in _KEYS}
    first, last = sheet.column("FirstName"), sheet.column("LastName")
    found = []
    for index, cells in enumerate(sheet.rows):
        name = cells[0].strip()
        if first is not None and last is not None:
            name = f"{cells[last].strip()}, {cells[first].strip()}"
        if plain(name).startswith(_POINTS) or plain(name) == _TEST_STUDENT:
            continue
        if all(_POSTING.fullmatch(cell) for cell in cells):
            continue
        keys = [
            (kind, heading, cells[place].strip())
            for kind, heading in _KEYS
            if (place := about[heading]) is not None
        ]
        found.append(Row(index, name, keys, own=keys[0][2]))
    return found
