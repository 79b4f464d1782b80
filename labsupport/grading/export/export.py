"""Grades of a course, written into what a platform takes: all of ``labs export``."""

import csv
import io
from dataclasses import replace
from pathlib import Path

from nbgrader.apps.api import NbGraderAPI

from labsupport.errors import CourseError
from labsupport.files import write_whole
from labsupport.grading.export import canvas, gradescope, moodle
from labsupport.grading.export.giving import Exported, Rules
from labsupport.grading.export.labs import LabName, guess, lab_names, said
from labsupport.grading.export.packing import (
    canvas_name,
    download_name,
    pack,
    page_of,
    participant,
    platforms,
)
from labsupport.grading.export.people import Person, people_of
from labsupport.grading.ledger.course_directory import course_api
from labsupport.grading.ledger.standing import Standing, standings

Pairs = dict[tuple[str, str], Standing]  # by (lab, student)


def export_canvas(
    folder: Path, path: Path, wanted: list[str] | None, out: Path, rules: Rules, columns: list[str]
) -> Exported:
    """Fill in a gradebook of Canvas'; with it, by lab, the feedback pages that go with a grade."""
    labs, known, people = _known(folder, wanted)
    people = [
        replace(person, elsewhere=bool(found) and "canvas" not in found)
        for person in people
        for found in [platforms(folder, person.student)]
    ]
    sheet, result, rows = canvas.fill(path, labs, known, people, rules, columns)
    sheet.write(_target(out, "canvas.csv", result))
    if rules.feedback:
        user = {student: canvas.user_of(sheet, index) for index, student in rows.items()}
        with course_api(folder) as api:
            for lab in labs:
                names = {}
                for student in _given(result, known, lab.stem):
                    name = download_name(folder, lab.stem, student)
                    names[student] = canvas_name(name, user[student])
                if names and not any(names.values()):
                    result.note(
                        f"{lab.stem}: no feedback pages are packed, for none of it was collected "
                        "from a download of Canvas': it takes back only what it gave"
                    )
                else:
                    why = "it was not collected from a download of Canvas', or is another's upload"
                    _pack(api, lab.stem, names, out, result, why)
    return _done(result, out)


def export_moodle(
    folder: Path,
    paths: list[Path],
    wanted: list[str] | None,
    out: Path,
    rules: Rules,
    columns: list[str],
    headings: list[str],
) -> Exported:
    """Fill in grading worksheets of Moodle's, one for each lab, and pack feedback beside each."""
    labs, known, people = _known(folder, wanted)
    result = Exported("Moodle")
    for lab, path in _worksheets(labs, paths, columns).items():
        numbers = {p: participant(download_name(folder, lab, p.student)) for p in people}
        there = [replace(person, number=numbers[person]) for person in people]
        named = moodle.headings(headings)
        sheet, one, packed = moodle.fill(path, lab, known, there, rules, named)
        sheet.write(_target(out, f"{lab}-moodle.csv", result))
        result.lines += one.lines
        result.notes += one.notes
        if rules.feedback:
            names = {
                student: f"{moodle.folder_of(*packed[student])}/{lab}.html"
                for student in _given(one, known, lab)
            }
            with course_api(folder) as api:
                _pack(api, lab, names, out, result, "Moodle's number of this student is not known")
    return _done(result, out)


def export_gradescope(folder: Path, wanted: list[str] | None, out: Path, rules: Rules) -> Exported:
    """Write the table that Gradescope's own download is like."""
    labs, known, people = _known(folder, wanted)
    return _done(gradescope.write(out / "gradescope.csv", labs, known, people, rules), out)


def _known(folder: Path, wanted: list[str] | None) -> tuple[list[LabName], Pairs, list[Person]]:
    found = standings(folder, wanted)
    stems = sorted({one.assignment for one in found})
    for name in wanted or []:
        if not any(name in (stem, stem[:2]) for stem in stems):
            raise CourseError(f"no lab {name!r} in {folder}: it was not released, nor handed in")
    if not stems:
        raise CourseError(f"nothing to export: no lab of {folder} was released or handed in")
    everybody = people_of(standings(folder) if wanted else found)
    known = {(one.assignment, one.student): one for one in found}
    return lab_names(folder, stems), known, everybody


def _worksheets(labs: list[LabName], paths: list[Path], columns: list[str]) -> dict[str, Path]:
    """Which worksheet is which lab's: by ``--column``, the file's name, or because there is one
    of each."""
    if len(paths) == 1 and len(labs) == 1:
        return {labs[0].stem: paths[0]}
    names = [path.stem for path in paths]
    found = {
        stem: places
        for stem, places in guess(labs, names, said(columns, labs, names)).items()
        if places
    }
    sure = {stem: paths[places[0]] for stem, places in found.items() if len(places) == 1}
    for path in paths:
        if list(sure.values()).count(path) != 1:
            raise CourseError(
                f"{path}: its name does not say which lab it is of; name one lab and one file, or "
                f"say --column {labs[0].number or labs[0].stem}='{path.stem}'"
            )
    return sure


def _given(result: Exported, known: Pairs, lab: str) -> list[str]:
    """Who has got a grade for work that was handed in."""
    students = (line.student for line in result.lines if line.lab == lab and line.written)
    return [s for s in students if (one := known.get((lab, s))) and one.score is not None]


def _pack(
    api: NbGraderAPI, lab: str, names: dict[str, str], out: Path, result: Exported, why: str
) -> None:
    pages = {}
    for student, name in names.items():
        page, reason = page_of(api, lab, student) if name else (None, why)
        if page is None:
            result.unpacked.append((lab, student, reason))
        else:
            pages[name] = page
    if pages:
        pack(_target(out, f"{lab}-feedback.zip", result), pages)
        result.pages[lab] = len(pages)


def _target(out: Path, name: str, result: Exported) -> Path:
    result.files.append(out / name)
    return out / name


def _done(result: Exported, out: Path) -> Exported:
    """Write the summary: what became of everybody in every lab."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["lab", "student", "name", "written", "why or how"])
    for line in result.lines:
        table.writerow([line.lab, line.student, line.name, line.points, line.note])
    for lab, student, reason in result.unpacked:
        table.writerow([lab, student, "", "", f"no page packed: {reason}"])
    path = out / "summary.csv"
    write_whole(path, text.getvalue())
    result.files.append(path)
    return result
