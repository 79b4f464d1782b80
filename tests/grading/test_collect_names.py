"""Whose a file is, by its name: what is certain is filed, what is not is left out and named."""

import csv
import shutil
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab
from labsupport.grading.collect.canvas import readings
from labsupport.grading.collect.collect import collect
from labsupport.grading.ledger.course_directory import course_api, init_course
from labsupport.grading.ledger.gradebook import db_url, open_gradebook
from tests.grading.test_collect import EVENING, STEM, pack

LAB = "01_vision_transformer.ipynb"


def is_lab(name):
    return name == LAB


# a name in Canvas' download: (name, user, file, late), or the users that it may be
CANVAS = {
    f"doejane_4711_90210_{LAB}": ("doejane", "4711", LAB, False),
    f"doejane_LATE_4711_90210_{LAB}": ("doejane", "4711", LAB, True),
    f"शर्मापूजा_4711_90210_{LAB}": ("शर्मापूजा", "4711", LAB, False),
    f"สมชายใจดี_LATE_4712_90211_{LAB}": ("สมชายใจดี", "4712", LAB, True),
    f"மணிகண்டன்_4715_90214_{LAB}": ("மணிகண்டன்", "4715", LAB, False),
    f"נועהכהן_4716_90215_{LAB}": ("נועהכהן", "4716", LAB, False),
    f"group_1_4711_90210_{LAB}": ("group_1", "4711", LAB, False),
    f"group_1_LATE_4711_90210_{LAB}": ("group_1", "4711", LAB, True),
    f"group_01_4711_90210_{LAB}": ("group_01", "4711", LAB, False),
    f"team_12_b_4711_90210_{LAB}": ("team_12_b", "4711", LAB, False),
    f"o'neil-2-sean_4711_90210_{LAB}": ("o'neil-2-sean", "4711", LAB, False),
    f"dela_cruz-lópez_4711_90210_{LAB}": ("dela_cruz-lópez", "4711", LAB, False),
    f"-1984-_4711_90210_{LAB}": ("-1984-", "4711", LAB, False),
    f"1984_4711_90210_{LAB}": ("1984", "4711", LAB, False),
    f"४२_4711_90210_{LAB}": ("४२", "4711", LAB, False),
    f"late_4711_90210_{LAB}": ("late", "4711", LAB, False),
    f"LATE_4711_90210_{LAB}": ("", "4711", LAB, True),
    f"4711_90210_{LAB}": ("", "4711", LAB, False),
    "doejane_4711_90210_Untitled.ipynb": ("doejane", "4711", "Untitled.ipynb", False),
    "doejane_4711_90210_lab_12_34_x.ipynb": ("doejane", "4711", "lab_12_34_x.ipynb", False),
    "group_1_4711_text.html": ("group_1", "4711", "a text", False),
    # somebody's file or name that is made to look like another's: never the other's
    f"roetom_100_200_4711_90210_{LAB}": ["100", "200"],
    f"roetom_4711_100_200_{LAB}": ("roetom_4711", "100", LAB, False),
    f"roetom_LATE_4711_100_200_{LAB}": ("roetom_LATE_4711", "100", LAB, False),
    # either may be meant
    "doejane_4711_90210_2_solved.ipynb": ["4711", "90210"],
    "group_1_4711_90210_Untitled.ipynb": ["1", "4711"],
    "group_01_4711_90210_Untitled.ipynb": ["01", "4711"],
    "doejane_4711_90210_01_solved.ipynb": ("doejane", "4711", "01_solved.ipynb", False),
    "notes.ipynb": [],
    f"doejane_{LAB}": [],
}


@pytest.mark.parametrize("name", CANVAS)
def test_canvas_names_are_read_or_left(name):
    found, expected = readings(name, is_lab), CANVAS[name]
    if isinstance(expected, list):
        assert [u.user for u in found] == expected
    else:
        (one,) = found
        assert (one.name, one.user, one.file, one.late) == expected


@pytest.fixture(scope="module")
def made(mini_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names") / "course"
    init_course(folder, mini_path.parent)
    with course_api(folder) as api:
        open_gradebook(db_url(folder, api.config))
    return folder


@pytest.fixture
def course(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "course"))


@pytest.fixture(scope="module")
def work(mini_path):
    return dump(student_notebook(read_lab(mini_path))).encode()


def people(course):
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        return {
            s.id: (s.first_name, s.last_name, s.email, s.lms_user_id) for s in gradebook.students
        }


def students(course):
    return sorted(p.name for p in (course / "submitted").iterdir())


def mapped(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("lms_id", "student_id"), *rows])
    return path


def test_doubtful_files_are_named_and_nothing_is_filed_for_them(course, work, tmp_path):
    names = ["group_1_4711_90210_Untitled.ipynb", f"roetom_100_200_{STEM}.ipynb"]
    result = collect(course, pack(tmp_path / "a.zip", [(n, work) for n in names]), "90")
    assert students(course) == ["100"] and not result.complete
    (left,) = (line for line in result.lines if not line.good)
    assert left.file == names[0] and left.note.startswith("it may be user 1 or 4711's")


def test_groups_of_moodle_need_a_map_where_they_have_no_number(course, work, tmp_path):
    place = "assignsubmission_file_/90_mini.ipynb"
    files = [(f"Team A_57_{place}", work), (f"Default group_{place}", work)]
    bundle = pack(tmp_path / "a.zip", files)
    result = collect(course, bundle, "90")
    assert students(course) == ["Team-A"]
    (left,) = (line for line in result.lines if not line.good)
    assert left.file == f"Default group_{place}" and "--map who is in it" in left.note
    shutil.rmtree(course / "submitted" / "Team-A")
    who = mapped(tmp_path / "m.csv", ("Team A", "ada"), ("Team A", "bob"), ("Default group", "cy"))
    assert collect(course, bundle, "90", map_file=who).complete
    assert students(course) == ["ada", "bob", "cy"]
    assert not {"ada", "bob", "cy"} & people(course).keys()  # a group's name is nobody's


def test_a_map_with_two_answers_files_nothing(course, work, tmp_path):
    bundle = pack(tmp_path / "a.zip", [("Jane Doe_57_assignsubmission_file_/90_mini.ipynb", work)])
    who = mapped(tmp_path / "m.csv", ("57", "somebody"), ("Jane Doe", "jane"))
    (line,) = collect(course, bundle, "90", map_file=who).lines
    assert (
        not line.good and line.note == "the map gives two answers: 57 is somebody, Jane Doe is jane"
    )


GRADESCOPE = """\
submission_1:
  :submitters:
  - :name: Ana Maria Lima
    :sid: '0071'
    :email: ana@example.edu
  :created_at: 2026-01-30 22:15:03 Z
submission_2:
  :submitters:
  - :name: Jane Doe
  :created_at: 2026-01-30 22:15:03 Z
submission_3:
  :submitters:
  - :name: Jane Doe
  :created_at: 2026-01-31 22:15:03 Z
"""


def test_names_and_addresses_are_kept_and_never_replaced(course, work, tmp_path):
    files = [(f"submission_{n}/90_mini.ipynb", work) for n in (1, 2, 3)]
    bundle = pack(tmp_path / "a.zip", [*files, ("submission_metadata.yml", GRADESCOPE.encode())])
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        gradebook.add_student("0071", first_name="Anita", email="")
    result = collect(course, bundle, "90")
    assert people(course) == {"0071": ("Anita", None, "ana@example.edu", "0071")}
    # two people of one name, and nothing else known: neither is the other's
    assert ["tell them apart" in line.note for line in result.lines if not line.good] == [True] * 2
    canvas = pack(tmp_path / "b.zip", [("limaana_4711_1_90_mini.ipynb", work)])
    collect(course, canvas, "90")
    moodle = pack(tmp_path / "c.zip", [("Tom Roe_57_assignsubmission_file_/90_mini.ipynb", work)])
    collect(course, moodle, "90")
    assert people(course)["4711"] == (None, "limaana", None, "4711")
    assert people(course)["Tom-Roe"] == ("Tom", "Roe", None, None)


def test_lateness_and_the_secret_stay_over_repeats(course, work, tmp_path):
    bundle = pack(tmp_path / "a.zip", [("doejane_LATE_4711_90210_90_mini.ipynb", work)])
    collect(course, bundle, "90")
    place = course / "submitted" / "4711" / STEM
    secret = (place / "submission_secret.txt").read_text()
    assert len(secret) == 128 and (place / "timestamp.txt").read_text() == ""
    (place / "late.txt").unlink()  # the instructor waives it
    assert collect(course, bundle, "90").lines[0].outcome == "unchanged"
    assert not (place / "late.txt").exists()
    newer = pack(
        tmp_path / "b.zip",
        [("doejane_LATE_4711_90999_90_mini-1.ipynb", work.replace(b"# A small", b"# My small"))],
        when=EVENING,
    )
    assert collect(course, newer, "90").lines[0].outcome == "replaced"
    assert (place / "submission_secret.txt").read_text() == secret
    assert (place / "late.txt").read_text() == "late, says Canvas\n"


def test_what_an_earlier_version_filed_gets_what_it_lacks(course, work, tmp_path):
    bundle = pack(tmp_path / "a.zip", [("doejane_LATE_4711_90210_90_mini.ipynb", work)])
    place = course / "submitted" / "4711" / STEM
    place.mkdir(parents=True)
    (place / f"{STEM}.ipynb").write_bytes(work)
    assert collect(course, bundle, "90").lines[0].outcome == "unchanged"
    assert sorted(p.name for p in place.iterdir()) == [
        f"{STEM}.ipynb",
        "late.txt",
        "submission_secret.txt",
        "timestamp.txt",
    ]
