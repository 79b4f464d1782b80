"""``labs export`` on a course: from a platform's download and back to it."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from nbgrader.utils import notebook_hash
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.grading.ledger.course_directory import course_api, init_course, release
from labsupport.grading.ledger.pages import make_page, page_path
from tests.grading.simulate import hand_in, write_notebook
from tests.grading.small_class import notebooks

STEM = "90_mini"
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Lab 90: small (12345),Current Score
"    Points Possible",,,,,4.50,(read only)
"Doe, Jane",4711,S001,jdoe,Mon,,
"Roe, Richard",4712,S002,rroe,Mon,,
"Poe, Pat",4713,S003,ppoe,Mon,,
"Loe, Lea",4714,S004,lloe,Mon,,
"Student, Test",4799,,3fb9a7,Mon,,
"""
MOODLE = """\
Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be changed",\
"Last modified (submission)","Online text","Last modified (grade)","Feedback comments"
"Participant 901","Jane Doe",jane@example.org,"Submitted for grading",,4.50,Yes,-,,-,
"Participant 902","Richard Roe",richard@example.org,"Submitted for grading",,4.50,Yes,-,,-,
"""

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


@pytest.fixture(scope="module")
def template(mini_path, tmp_path_factory):
    """Four students: two graded, one whose answer waits, one who handed in nothing readable."""
    folder = tmp_path_factory.mktemp("courses") / "mini"
    init_course(folder, mini_path.parent)
    release(folder)
    hand_in(folder, STEM, "jdoe", {}, by_hand=1.0, late_hours=26, penalty=0.5)
    hand_in(folder, STEM, "rroe", {"twice": ("failed", "one: wrong")}, by_hand=0.5)
    hand_in(folder, STEM, "4713", {}, by_hand=None)
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        for student, number, first, last in (
            ("jdoe", "4711", "Jane", "Doe"),
            ("rroe", "4712", "Richard", "Roe"),
            ("4713", "4713", "Pat", "Poe"),
        ):
            gradebook.update_or_create_student(
                student,
                lms_user_id=number,
                first_name=first,
                last_name=last,
                email=f"{first.lower()}@example.org",
            )
        gradebook.update_or_create_student("x9", first_name="Xi", last_name="Li")
    for student in ("jdoe", "rroe", "4713"):
        write_notebook(folder, STEM, student)
    with course_api(folder) as api:
        for student in ("jdoe", "rroe", "4713"):
            assert make_page(api, STEM, student) == ""
    return folder


@pytest.fixture
def course(template, tmp_path):
    return shutil.copytree(template, tmp_path / "mini")


def collected(course, names):
    """As ``labs collect`` notes where a notebook came from."""
    for student, name in names.items():
        record = course / ".labs" / "collected" / student / f"{STEM}.json"
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps({"format": "canvas", "file": name}))


def labs(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def rows(path):
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))


def table(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_canvas_gradebook_and_feedback(course, tmp_path):
    (tmp_path / "gradebook.csv").write_text(CANVAS)
    collected(
        course,
        {
            "jdoe": "doejane_LATE_4711_90210_my lab-1.ipynb",
            "rroe": "submissions/group 1_4999_90211_lab.ipynb",  # a group's: another's upload
            "4713": "poepat_4713_90212_lab.ipynb",
        },
    )
    result = labs("export", course, "--canvas", tmp_path / "gradebook.csv")
    assert result.exit_code == 2, result.output
    filled = rows(course / "export" / "canvas.csv")
    assert [row[5] for row in filled[2:]] == ["4", "2.5", "", "", ""]
    assert [row[:5] + row[6:] for row in filled] == [
        row[:5] + row[6:] for row in csv.reader(io.StringIO(CANVAS))
    ]
    with zipfile.ZipFile(course / "export" / f"{STEM}-feedback.zip") as archive:
        assert archive.namelist() == ["doejane_LATE_4711_90210_my lab-1.html"]
        (packed,) = map(archive.read, archive.namelist())
    assert packed == page_path(course, STEM, "jdoe").read_bytes()
    said = {
        (r["student"] or r["name"], r["why or how"]) for r in table(course / "export/summary.csv")
    }
    assert ("4713", "1 answer to grade by hand") in said
    assert ("Loe, Lea", "no student of the course has its ids or its name") in said
    assert ("x9", "no row of gradebook.csv is this student's") in said
    assert any(who == "rroe" and "another's upload" in why for who, why in said)
    assert "Loe, Lea" in result.output and "1 answer to grade by hand" in result.output


def test_all_written_is_exit_status_0(course, tmp_path):
    text = CANVAS.replace('"Poe, Pat",4713,S003,ppoe,Mon,,\n"Loe, Lea",4714,S004,lloe,Mon,,\n', "")
    (tmp_path / "gradebook.csv").write_text(text)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        for student in ("4713", "x9"):
            gradebook.remove_student(student)
    shutil.rmtree(course / "submitted" / "4713")
    result = labs("export", course, "90", "--canvas", tmp_path / "gradebook.csv")
    assert result.exit_code == 0, result.output
    assert "none of it was collected from a download of Canvas'" in " ".join(result.output.split())


def test_a_page_older_than_its_grade_is_not_handed_out(course, tmp_path):
    (tmp_path / "gradebook.csv").write_text(CANVAS)
    collected(course, {"jdoe": "doejane_4711_90210_lab.ipynb"})
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        gradebook.find_grade("answer-why", STEM, STEM, "jdoe").manual_score = 0.5
        gradebook.db.commit()
    result = labs("export", course, "--canvas", tmp_path / "gradebook.csv")
    assert result.exit_code == 2 and "older than the grade" in result.output
    assert rows(course / "export" / "canvas.csv")[2][5] == "3.5"
    assert not list((course / "export").glob("*.zip"))


def test_moodle_worksheet_and_feedback(course, tmp_path):
    (tmp_path / "Grades-VIT-Lab 90-77.csv").write_text(MOODLE)
    out = tmp_path / "out"
    result = labs("export", course, "--moodle", tmp_path / "Grades-VIT-Lab 90-77.csv", "--out", out)
    assert result.exit_code == 2, result.output  # Pat and Xi have no row in it
    filled = rows(out / f"{STEM}-moodle.csv")
    assert [row[4] for row in filled[1:]] == ["4", "2.5"]
    assert filled[1][10] == "4 of 4.5 points; handed in 26 h late: 0.5 points off"
    with zipfile.ZipFile(out / f"{STEM}-feedback.zip") as archive:
        assert archive.namelist() == [
            f"Jane Doe_901_assignsubmission_file_/{STEM}.html",
            f"Richard Roe_902_assignsubmission_file_/{STEM}.html",
        ]
        for student, name in zip(("jdoe", "rroe"), archive.namelist(), strict=True):
            assert archive.read(name) == page_path(course, STEM, student).read_bytes()


def test_gradescope_has_a_row_a_student(course, tmp_path):
    result = labs("export", course, "--gradescope", "--out", tmp_path)
    assert result.exit_code == 2
    found = table(tmp_path / "gradescope.csv")
    assert [(r["SID"], r["First Name"], r["Email"], r[STEM]) for r in found] == [
        ("4713", "Pat", "pat@example.org", ""),
        ("4711", "Jane", "jane@example.org", "4"),
        ("4712", "Richard", "richard@example.org", "2.5"),
        ("x9", "Xi", "", ""),
    ]
    assert {r[f"{STEM} - Max Points"] for r in found} == {"4.5"}
    result = labs("export", course, "--gradescope", "--missing-as-zero", "--out", tmp_path)
    assert [r[STEM] for r in table(tmp_path / "gradescope.csv")] == ["", "4", "2.5", "0"]


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "say one of --canvas FILE, --moodle FILE and --gradescope"),
        (["--gradescope", "--canvas", "{file}"], "say one of"),
        (["77", "--gradescope"], "no lab '77'"),
        (["--canvas", "{file}"], "none of the columns"),
        (["--canvas", "{course}/none.csv"], "cannot be read"),
        (["--canvas", "{file}", "--column", "90=Lab 99"], "there are: Essay (1)"),
        (["--moodle", "{file}"], "no grading worksheet"),
    ],
)
def test_mistakes_are_one_line(course, tmp_path, words, message):
    file = tmp_path / "other.csv"
    file.write_text('Student,ID,Section,Essay (1)\n"    Points Possible",,,10.00\n"Doe, J",1,M,\n')
    result = labs("export", course, *[w.format(file=file, course=course) for w in words])
    assert result.exit_code == 1 and message in " ".join(result.output.split())
    assert not (course / "export").exists()


# --- nbgrader's own way ------------------------------------------------------------------------


def nbgrader(course, *words):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_nbgraders_export_goes_on_working(course):
    nbgrader(course, "export", "--to", "theirs.csv")
    found = {row["student_id"]: row for row in table(course / "theirs.csv")}
    assert {s: (r["score"], r["email"]) for s, r in found.items()} == {
        "jdoe": ("4.0", "jane@example.org"),
        "rroe": ("2.5", "richard@example.org"),
        "4713": ("3.5", "pat@example.org"),
        "x9": ("0.0", ""),
    }


def test_release_feedback_with_students_from_a_platform(course, tmp_path):
    """They have no secret of the exchange's, and Canvas' download may have no times: nbgrader's
    command would stop for the whole class. Jane handed in through the exchange."""
    place = course / "feedback" / "jdoe" / STEM
    (place / "submission_secret.txt").write_text("jane's own")
    (place / "timestamp.txt").write_text("2026-02-02 01:59:00 UTC")
    for student in ("rroe", "4713"):
        assert not (course / "submitted" / student / STEM / "submission_secret.txt").exists()
    exchange = tmp_path / "exchange"
    exchange.mkdir(mode=0o777)
    exchange.chmod(0o777)
    config = course / "nbgrader_config.py"
    config.write_text(config.read_text() + f"c.Exchange.root = {str(exchange)!r}\n")
    nbgrader(course, "release_feedback", STEM)
    pages = list((exchange / "mini" / "feedback").glob("*.html"))
    texts = {page_path(course, STEM, s).read_bytes() for s in ("jdoe", "rroe", "4713")}
    assert len(pages) == 3 and {page.read_bytes() for page in pages} == texts
    own = notebook_hash(secret="jane's own", notebook_id=STEM)
    assert f"{own}.html" in {page.name for page in pages}
    nbgrader(course, "release_feedback", STEM)  # again: no second page of anybody's
    assert len(list((exchange / "mini" / "feedback").glob("*.html"))) == 3


def test_the_whole_way_from_canvas_and_back(mini_path, tmp_path):
    """Collected, graded, released through the exchange, exported, packed."""
    course, exchange = tmp_path / "mini", tmp_path / "exchange"
    init_course(course, mini_path.parent)
    release(course)
    texts = notebooks(mini_path)
    download = tmp_path / "submissions.zip"
    with zipfile.ZipFile(download, "w") as archive:
        archive.writestr("doejane_LATE_4711_90210_90_mini-1.ipynb", texts["perfect"])
        archive.writestr("roerichard_4712_90211_90_mini.ipynb", texts["adds"])
        archive.writestr("poepat_4713_90212_90_mini.ipynb", '{"cells": [')
    filed = labs("collect", course, download)
    assert filed.exit_code == 0, filed.output
    config = course / "nbgrader_config.py"
    config.write_text(config.read_text() + f"c.Exchange.root = {str(exchange)!r}\n")
    exchange.mkdir()
    exchange.chmod(0o777)
    graded = labs("grade", course, "--jobs", "1")
    assert graded.exit_code == 2, graded.output  # Pat's file is damaged
    (tmp_path / "gradebook.csv").write_text(CANVAS)

    waiting = labs("export", course, "--canvas", tmp_path / "gradebook.csv")
    assert waiting.exit_code == 2
    assert [row[5] for row in rows(course / "export" / "canvas.csv")[2:]] == [""] * 5

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        for student in ("4711", "4712"):
            grade = gradebook.find_grade("answer-why", STEM, STEM, student)
            grade.manual_score, grade.needs_manual_grade = 1.0, False
        gradebook.db.commit()
    again = labs("grade", course, "--jobs", "1")  # nothing runs again; the pages are made anew
    assert again.exit_code == 2, again.output
    result = labs("export", course, "--canvas", tmp_path / "gradebook.csv")
    assert result.exit_code == 2
    assert [row[5] for row in rows(course / "export" / "canvas.csv")[2:]] == [
        "4.5",
        "2.5",
        "",
        "",
        "",
    ]
    left = {r["student"]: r["why or how"] for r in table(course / "export/summary.csv")}
    assert "damaged" in left["4713"]
    with zipfile.ZipFile(course / "export" / f"{STEM}-feedback.zip") as archive:
        assert archive.namelist() == [
            "doejane_LATE_4711_90210_90_mini-1.html",
            "roerichard_4712_90211_90_mini.html",
        ]
        jane, richard = (archive.read(name).decode() for name in archive.namelist())
    assert "<b>4.5</b> of 4.5 points" in jane and "<b>2.5</b> of 4.5 points" in richard
    assert "x plus factor" in richard and "x plus factor" not in jane
    nbgrader(course, "release_feedback", STEM)
    assert len(list((exchange / "mini" / "feedback").glob("*.html"))) == 2


def test_two_of_one_name_from_moodle_and_back(template, tmp_path):
    """The number that Moodle's download gives each tells them apart in its worksheet too."""
    course = tmp_path / "mini"
    init_course(course, template / "labs")
    release(course)
    lab = (template / "release" / STEM / f"{STEM}.ipynb").read_text(encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "download.zip", "w") as archive:
        for number in ("901", "902"):
            archive.writestr(f"Jane Doe_{number}_assignsubmission_file_/{STEM}.ipynb", lab)
    (tmp_path / "map.csv").write_text("lms_id,student_id\n901,jane1\n902,jane2\n")
    filed = labs("collect", course, tmp_path / "download.zip", "--map", tmp_path / "map.csv")
    assert filed.exit_code == 0, filed.output
    hand_in(course, STEM, "jane1", {}, by_hand=1.0)
    hand_in(course, STEM, "jane2", {"scale": ("failed", "one: wrong")}, by_hand=1.0)
    for student in ("jane1", "jane2"):
        write_notebook(course, STEM, student)
        with course_api(course) as api:
            assert make_page(api, STEM, student) == ""
    text = MOODLE.replace("Richard Roe", "Jane Doe").replace("richard@", "jane@")
    (tmp_path / "worksheet.csv").write_text(text)
    result = labs("export", course, "90", "--moodle", tmp_path / "worksheet.csv")
    assert result.exit_code == 0, result.output
    assert [row[4] for row in rows(course / "export" / f"{STEM}-moodle.csv")[1:]] == ["4.5", "2.5"]
    with zipfile.ZipFile(course / "export" / f"{STEM}-feedback.zip") as archive:
        for student, number in (("jane1", "901"), ("jane2", "902")):
            name = f"Jane Doe_{number}_assignsubmission_file_/{STEM}.html"
            assert archive.read(name) == page_path(course, STEM, student).read_bytes()
