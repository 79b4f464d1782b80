"""Family 4, second half: files, names and ids, through nbgrader's autograde in a real course."""

import copy
import json
import os

import nbformat
import pytest
from conftest import SECRET
from nbgrader.api import Gradebook

from labsupport.course.build import dump
from labsupport.grading.course_directory import init_course, release
from labsupport.grading.course_grades import grade_course
from labsupport.grading.demo import ON_TIME, submit

STEM = "90_mini"
SIZE = 5_000_000  # characters of the large file's text


def lying(perfect):
    notebook = copy.deepcopy(perfect)
    for cell in notebook.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.update(points=1000, grade=True, schema_version=99)
    notebook.cells.append(copy.deepcopy(notebook.cells[3]))
    notebook.metadata.kernelspec = {"name": "../../bin/sh", "display_name": "", "language": "sh"}
    return dump(notebook)


def stripped(perfect):
    notebook = json.loads(dump(perfect))
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        cell.pop("id")
    notebook["nbformat_minor"] = 2
    return json.dumps(notebook)


def files(perfect) -> dict[str, bytes]:
    whole = dump(perfect)
    large = copy.deepcopy(perfect)
    large.cells[0].source += "x" * SIZE
    return {
        "honest": whole.encode(),
        "cut": whole[: len(whole) // 2].encode(),
        "empty": b"",
        "deep": b"[" * 200_000 + b"]" * 200_000,
        "not-a-notebook": b"[1, 2]",
        "no-cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        "old-format": whole.replace('"nbformat": 4', '"nbformat": 1').encode(),
        "new-format": whole.replace('"nbformat": 4', '"nbformat": 99').encode(),
        "not-utf8": whole.replace("A small lab", "\xe9").encode("latin-1"),
        "with-nul": whole.encode() + b"\0" * 10,
        "utf16": whole.encode("utf-16"),
        "large": dump(large).encode(),
        "lying": lying(perfect).encode(),
        "stripped": stripped(perfect).encode(),
        "nan": whole.replace('"nbformat_minor": 5', '"nbformat_minor": NaN').encode(),
        "same-cell-often": whole.replace('"exercise-twice"', '"exercise-scale"').encode(),
        "<img src=x onerror=alert(1)>": whole.encode(),
        "$(touch pwned)": whole.encode(),
        "a'; DROP TABLE grade; --": whole.encode(),
    }


# students whose code arrives intact in a file that can be read
FULL = {"honest", "large", "lying", "stripped", "<img src=x onerror=alert(1)>",
        "$(touch pwned)", "a'; DROP TABLE grade; --"}


@pytest.fixture(scope="module")
def course(mini_path, perfect, jail, tmp_path_factory):
    folder = tmp_path_factory.mktemp("courses") / "hostile"
    init_course(folder, mini_path.parent)
    release(folder)
    for student, content in files(perfect).items():
        submit(folder, student, STEM, "", ON_TIME)
        (folder / "submitted" / student / STEM / f"{STEM}.ipynb").write_bytes(content)
    extra = folder / "submitted" / "honest" / STEM
    (extra / "another.ipynb").write_text("{}")
    (extra / "sitecustomize.py").write_text("raise SystemExit")
    secret = folder / "instructors.txt"
    secret.write_text(SECRET)
    return folder


@pytest.fixture(scope="module")
def rows(course):
    return {row.student: row for row in grade_course(course)}


@pytest.mark.parametrize("student", sorted(FULL))
def test_a_notebook_that_can_be_read_keeps_its_marks(rows, student):
    row = rows[student]
    assert row.error == "" and row.score == 3.5 and row.max_score == 4.5, row


def test_every_other_file_gets_a_line_that_says_why(rows, perfect):
    for student in set(files(perfect)) - FULL - {"same-cell-often"}:
        row = rows[student]
        assert row.error and "\n" not in row.error and len(row.error) < 400, (student, row)
        assert row.score == 0
    assert rows["same-cell-often"].score in (2, 3.5)
    assert rows["same-cell-often"].error == ""


def test_nothing_is_written_where_it_does_not_belong(rows, course):
    assert not (course / "pwned").exists() and not os.path.exists("pwned")
    assert (course / "instructors.txt").read_text() == SECRET
    inside = {p.name for p in course.iterdir()} - {".labs", "__pycache__"}
    assert inside == {"nbgrader_config.py", "labs", "source", "release", "submitted",
                      "autograded", "feedback", "gradebook.db", "instructors.txt"}
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        assert {s.id for s in gradebook.students} >= FULL


def test_feedback_and_graded_notebooks_are_inert(rows, course):
    pages = list((course / "feedback").rglob("*.html"))
    assert len(pages) >= len(FULL)
    for page in pages:
        assert "<img src=x" not in page.read_text()
    for path in (course / "autograded").rglob("*.ipynb"):
        nbformat.validate(nbformat.read(path, as_version=4))
        assert "labsupport_grading" in nbformat.read(path, as_version=4).metadata


def test_a_repair_is_reported_where_it_was_made(rows, course):
    path = course / "autograded" / "lying" / STEM / f"{STEM}.ipynb"
    about = nbformat.read(path, as_version=4).metadata["labsupport_grading"]
    assert any("in 2 cells" in repair for repair in about["repairs"]), about["repairs"]
    assert "Repaired before grading" in (
        course / "feedback" / "lying" / STEM / f"{STEM}.html").read_text()
    honest = course / "autograded" / "honest" / STEM / f"{STEM}.ipynb"
    assert nbformat.read(honest, as_version=4).metadata["labsupport_grading"]["repairs"] == []

