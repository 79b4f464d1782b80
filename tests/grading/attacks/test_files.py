"""Family 4, second half: files, names and ids, through nbgrader's autograde in a real course."""

import copy
import json
import os
import shutil
import socket
from collections import Counter

import nbformat
import pytest
from conftest import SECRET
from nbformat.v4 import new_code_cell
from nbgrader.api import Gradebook
from test_pages import Acting

from labsupport.cli import grading_output
from labsupport.course.build import dump
from labsupport.grading.demo import ON_TIME, submit
from labsupport.grading.ledger.course_directory import init_course, release
from labsupport.grading.ledger.grades import Row, grade_course

pytestmark = pytest.mark.slow
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


def wrong_types(perfect):
    notebook = json.loads(dump(perfect))
    for index, cell in enumerate(notebook["cells"]):
        cell["metadata"] = [5, "x", None, {"tags": 7}][index % 4]
        cell["source"] = [["a", 5], {"b": 1}, None, 7][index % 4]
    return json.dumps(notebook)


def format_3(perfect):
    cells = [
        {
            "cell_type": "code",
            "input": c.source,
            "outputs": [],
            "language": "python",
            "collapsed": False,
            "metadata": {},
        }
        for c in perfect.cells
        if c.cell_type == "code"
    ]
    return json.dumps(
        {
            "nbformat": 3,
            "nbformat_minor": 0,
            "metadata": {"name": "../../etc/x"},
            "worksheets": [{"cells": cells, "metadata": {}}],
        }
    )


def bomb(perfect):
    """Own cells whose code a parser chokes on, beside intact answers."""
    notebook = copy.deepcopy(perfect)
    for index, source in enumerate(
        (
            "(" * 5000,
            "-" * 50_000 + "1",
            "x" + ".a" * 50_000,
            "[" * 90 + "]" * 90,
            "9" * 10_000,
            "lambda:" * 20_000 + "1",
            "a\0b",
            "if 1:\n" + " " * 100_000 + "x",
            "f'{" * 200,
        )
    ):
        notebook.cells.append(new_code_cell(source, id=f"bomb-{index}"))
    return dump(notebook)


def many(perfect):
    notebook = copy.deepcopy(perfect)
    notebook.cells += [new_code_cell("", id=f"n{i}") for i in range(5000)]
    return dump(notebook)


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
        "surrogate": whole.replace("# A small lab", "# A small \\ud800 lab").encode(),
        "wrong-types": wrong_types(perfect).encode(),
        "bom": whole.encode("utf-8-sig"),
        "format-3": format_3(perfect).encode(),
        "great-integer": whole.replace(
            '"nbformat_minor": 5', '"nbformat_minor": ' + "9" * 5000
        ).encode(),
        "parser-bomb": bomb(perfect).encode(),
        "many-cells": many(perfect).encode(),
        "nan": whole.replace('"nbformat_minor": 5', '"nbformat_minor": NaN').encode(),
        "same-cell-often": whole.replace('"exercise-twice"', '"exercise-scale"').encode(),
        "<img src=x onerror=alert(1)>": whole.encode(),
        "$(touch pwned)": whole.encode(),
        "..%2f..%2fetc": whole.encode(),
        "{student_id}": whole.encode(),
        "a'; DROP TABLE grade; --": whole.encode(),
    }


# students whose code arrives intact in a file that can be read
FULL = {
    "honest",
    "new-format",
    "large",
    "lying",
    "stripped",
    "surrogate",
    "parser-bomb",
    "many-cells",
    "..%2f..%2fetc",
    "{student_id}",
    "<img src=x onerror=alert(1)>",
    "$(touch pwned)",
    "a'; DROP TABLE grade; --",
}
# students whose file is brought to what can be read, and whose code arrives with it
REPAIRED = {"bom", "format-3", "nan", "not-utf8", "old-format", "utf16", "with-nul"}


def another_notebook(place, folder):
    (place / f"{STEM}.ipynb").unlink()
    (place / f"{STEM}.ipynb").symlink_to(folder / "submitted" / "honest" / STEM / f"{STEM}.ipynb")


def another_folder(place, folder):
    shutil.rmtree(place)
    place.symlink_to(folder / "submitted" / "honest" / STEM)


# what lies beside a notebook, or in its place
BESIDE = {
    "link": lambda place, folder: (place / "notes.txt").symlink_to(folder / "instructors.txt"),
    "link-to-folder": lambda place, folder: (place / "all").symlink_to(folder),
    "link-to-notebook": another_notebook,
    "folder-is-a-link": another_folder,
    "pipe": lambda place, folder: os.mkfifo(place / "data.csv"),
    "socket": lambda place, folder: listen(place / "s"),
    "huge": lambda place, folder: os.truncate(place / f"{STEM}.ipynb", 2**30),
    "*": lambda place, folder: None,
    "[a-z]*": lambda place, folder: None,
    "new\nline": lambda place, folder: None,
    "\x1b[2J": lambda place, folder: None,
}


def listen(path):
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path must be short
        server.bind(path.name)
        os.chdir(here)


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
    for student, make in BESIDE.items():
        submit(folder, student, STEM, dump(perfect), ON_TIME)
        make(folder / "submitted" / student / STEM, folder)
    secret = folder / "instructors.txt"
    secret.write_text(SECRET)
    return folder


@pytest.fixture(scope="module")
def rows(course):
    return {row.student: row for row in grade_course(course)}


@pytest.mark.parametrize("student", sorted(FULL | REPAIRED))
def test_a_notebook_that_can_be_read_keeps_its_marks(rows, student):
    row = rows[student]
    assert row.error == "" and row.score == 3.5 and row.max_score == 4.5, row


def test_every_other_file_gets_a_line_that_says_why(rows, perfect):
    for student in set(files(perfect)) - FULL - REPAIRED - {"same-cell-often"}:
        row = rows[student]
        assert row.error and "\n" not in row.error and len(row.error) < 400, (student, row)
        assert row.score == 0
    assert rows["same-cell-often"].score in (2, 3.5)
    assert rows["same-cell-often"].error == ""


@pytest.mark.parametrize("student", sorted(REPAIRED - {"format-3"}))
def test_what_was_repaired_is_said(rows, course, student):
    graded = json.loads((course / "autograded" / student / STEM / f"{STEM}.ipynb").read_text())
    assert graded["metadata"]["labsupport_grading"]["repairs"]
    page = (course / "feedback" / student / STEM / f"{STEM}.html").read_text()
    assert "Repaired before grading" in page


@pytest.mark.parametrize("student", BESIDE, ids=ascii)
def test_links_pipes_and_names_that_are_patterns_are_refused(rows, course, student):
    row = rows[student]
    assert row.score == 0 and row.error and row.error.isprintable() and len(row.error) < 400
    done = [p for top in ("autograded", "feedback") for p in (course / top).iterdir()]
    assert student not in {p.name for p in done}


def test_the_table_of_grades_shows_every_name_as_it_is(rows, capsys):
    grading_output.show(
        [*rows.values(), Row("[/red][link=file:///etc]x", STEM, error="[/nothing] \x1b[2J")]
    )
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown and "[/red]" in shown.replace("\n", "")


def test_nothing_is_written_where_it_does_not_belong(rows, course):
    assert not (course / "pwned").exists() and not os.path.exists("pwned")
    assert (course / "instructors.txt").read_text() == SECRET
    inside = {p.name for p in course.iterdir()} - {".labs", "__pycache__"}
    assert inside == {
        "nbgrader_config.py",
        "labs",
        "source",
        "release",
        "submitted",
        "autograded",
        "feedback",
        "gradebook.db",
        "instructors.txt",
    }
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        assert {s.id for s in gradebook.students} >= FULL


def test_feedback_and_graded_notebooks_are_inert(rows, course):
    pages = list((course / "feedback").rglob("*.html"))
    assert len(pages) >= len(FULL)
    honest = Acting((course / "feedback" / "honest" / STEM / f"{STEM}.html").read_text()).found
    for page in pages:  # nbgrader's own page loads scripts; a submission's must add none
        assert Counter(Acting(page.read_text()).found) - Counter(honest) == {}, page
    for path in (course / "autograded").rglob("*.ipynb"):
        nbformat.validate(nbformat.read(path, as_version=4))
        assert "labsupport_grading" in nbformat.read(path, as_version=4).metadata


def test_a_repair_is_reported_where_it_was_made(rows, course):
    path = course / "autograded" / "lying" / STEM / f"{STEM}.ipynb"
    about = nbformat.read(path, as_version=4).metadata["labsupport_grading"]
    assert any("in 2 cells" in repair for repair in about["repairs"]), about["repairs"]
    assert (
        "Repaired before grading"
        in (course / "feedback" / "lying" / STEM / f"{STEM}.html").read_text()
    )
    honest = course / "autograded" / "honest" / STEM / f"{STEM}.ipynb"
    assert nbformat.read(honest, as_version=4).metadata["labsupport_grading"]["repairs"] == []
