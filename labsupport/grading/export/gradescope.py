"""Grades for Gradescope, which takes none from a file.

What Gradescope imports is a roster, and the results.json of an autograder that it runs itself;
there is no import of points into an assignment. So this writes what Gradescope's own "Download
Grades" of a course has: a row a student with name, SID, e-mail, and for each lab its points, the
most there are, and when it was handed in. It can be laid beside Gradescope's, joined by SID or
e-mail, or given to whatever reads Gradescope's file (a registrar's sheet, a platform's gradebook).
"""

import csv
import io
from pathlib import Path

from labsupport.files import write_whole
from labsupport.grading.export.giving import Exported, Line, Rules, given
from labsupport.grading.export.labs import LabName
from labsupport.grading.export.people import Person
from labsupport.grading.export.sheet import decimal
from labsupport.grading.ledger.standing import Standing

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(
    path: Path,
    labs: list[LabName],
    standings: dict[tuple[str, str], Standing],
    people: list[Person],
    rules: Rules,
) -> Exported:
    """Write the table; a row for every student of the course."""
    result = Exported("Gradescope", files=[path])
    head = ["First Name", "Last Name", "SID", "Email"]
    for lab in labs:
        head += [lab.stem, f"{lab.stem} - Max Points", f"{lab.stem} - Submission Time"]
    rows = [head]
    for person in people:
        first, last = _names(person, standings, labs)
        row = [first, last, person.lms_user_id or person.student, person.email]
        for lab in labs:
            one = standings.get((lab.stem, person.student))
            value, why = given(one, None, rules)
            points = "" if value is None else decimal(value)
            when = (
                one.timestamp.strftime("%Y-%m-%d %H:%M:%S +0000") if one and one.timestamp else ""
            )
            row += [points, decimal(one.max_score) if one else "", when]
            result.lines.append(Line(lab.stem, person.student, person.name, points, why))
        rows.append([_plain(cell) for cell in row])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(path, text.getvalue())
    return result


def _names(person: Person, standings, labs: list[LabName]) -> tuple[str, str]:
    known = (standings.get((lab.stem, person.student)) for lab in labs)
    return next(((one.first_name, one.last_name) for one in known if one), ("", ""))


def _plain(cell: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
