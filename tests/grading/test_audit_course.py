"""``labs audit DIR``: the labs of a course as its instructor has edited them."""

import json

import pytest
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.errors import CourseError
from labsupport.grading.audit.command import in_course
from labsupport.grading.ledger.course_directory import init_course

STEM = "90_mini"
EQUIVALENT = """
[[equivalent]]
exercise = "twice"
operator = "no such"
where = "twice"
before = "a"
after = "b"
reason = "it is about nothing"
"""


@pytest.fixture
def course(tmp_path, mini_path):
    return init_course(tmp_path / "mini", mini_path.parent)


def test_the_first_word_may_be_a_course(course, tmp_path):
    assert in_course([str(course)]) == (course / "labs", None)
    assert in_course([str(course), "90"]) == (course / "labs", ["90"])
    assert in_course(["01", "02"]) == (None, ["01", "02"])
    assert in_course(None) == (None, None)
    with pytest.raises(CourseError, match="is no course directory: name one, or labs of the"):
        in_course([str(tmp_path)])


def test_the_courses_own_labs_are_judged_with_what_stands_beside_them(course, tmp_path):
    path = course / "labs" / f"{STEM}.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"twice"', '"double"').replace("twice(", "double("))
    (course / "labs" / f"{STEM}.equivalents.toml").write_text(EQUIVALENT.replace("twice", "double"))
    report = tmp_path / "audit.json"
    words = ["audit", str(course), "90", "--fast", "--workers", "2", "--json", str(report)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code in (0, 2), result.output
    (audit,) = json.loads(report.read_text())
    assert [e["exercise"] for e in audit["exercises"]] == ["scale", "double"]
    assert "no such" in json.dumps(audit)  # declared there, and no longer a mutant


def test_a_broken_judge_is_one_line(course):
    path = course / "labs" / f"{STEM}.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace('yield Case("four numbers", ', 'yield Case("four numbers", **{"y": 1}, ')
    )
    result = CliRunner().invoke(app, ["audit", str(course), "--fast", "--workers", "1"])
    assert result.exit_code == 1
    line = result.output.strip().splitlines()[-1]
    assert "the judge of twice" in line and "unexpected keyword argument 'y'" in line


def test_equivalents_come_along_to_a_new_course(tmp_path, mini_path):
    solutions = tmp_path / "solutions"
    solutions.mkdir()
    (solutions / mini_path.name).write_text(mini_path.read_text(encoding="utf-8"))
    (solutions / f"{STEM}.equivalents.toml").write_text(EQUIVALENT)
    made = init_course(tmp_path / "course", solutions)
    assert (made / "labs" / f"{STEM}.equivalents.toml").read_text() == EQUIVALENT


def test_a_folder_that_nbgrader_takes_for_a_pattern_is_refused(tmp_path, mini_path):
    with pytest.raises(CourseError, match="brackets in the path .* rename the folder"):
        init_course(tmp_path / "vit [2026]", mini_path.parent)
    assert not list(tmp_path.iterdir())
