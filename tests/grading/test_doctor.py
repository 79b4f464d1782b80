"""``labs doctor DIR``: what of a course is set, and how to set what is not."""

import os
import sys

import pytest
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.course.publication import Published
from labsupport.grading.demo import set_due_date
from labsupport.grading.ledger.checkup import checkup
from labsupport.grading.ledger.course_directory import course_api, init_course, release
from labsupport.grading.ledger.settings import CONFIG

STEM = "90_mini"
NAMES = [
    *("labs", "settings", "sandbox", "gradebook", "roster"),
    *("due dates", "late policy", "several graders", "exchange"),
]


@pytest.fixture(scope="module")
def course(mini_path, tmp_path_factory):
    folder = init_course(tmp_path_factory.mktemp("doctor") / "mini", mini_path.parent)
    release(folder)
    return folder


@pytest.fixture
def settings(course):
    path = course / CONFIG
    before = path.read_text(encoding="utf-8")
    yield lambda line: path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n")
    path.write_text(before)


def looks(course):
    return {look.name: look for look in checkup(course)}


def test_what_a_new_course_lacks_is_said_with_the_way_to_set_it(course):
    found = looks(course)
    assert list(found) == NAMES
    states = {
        name: look.state for name, look in found.items() if name not in ("sandbox", "exchange")
    }
    assert states == {
        "labs": "set",
        "settings": "set",
        "gradebook": "set",
        "roster": "not set",
        "due dates": "not set",
        "late policy": "not set",
        "several graders": "not set",
    }
    assert "nbgrader db student import" in found["roster"].text
    assert f"labs course due {course} {STEM}" in found["due dates"].text
    assert "c.LateSubmissionPlugin.penalty_method" in found["late policy"].text
    assert "c.CourseDirectory.groupshared = True" in found["several graders"].text


def test_what_is_set_is_said(course, settings, tmp_path):
    set_due_date(course, STEM)
    with course_api(course) as api, api.gradebook as book:
        book.add_student("ada", first_name="Ada")
    settings('c.LateSubmissionPlugin.penalty_method = "zero"')
    settings("c.CourseDirectory.groupshared = True")
    settings(f"c.Exchange.root = {str(tmp_path)!r}")
    course.chmod(0o2775)
    found = looks(course)
    assert {look.state for name, look in found.items() if name != "sandbox"} == {"set"}
    assert found["roster"].text == "1 of them, all with a name"
    assert "2026-01-31 23:59 UTC" in found["due dates"].text
    assert str(tmp_path) in found["exchange"].text
    course.chmod(0o755)
    assert "chmod g+s" in looks(course)["several graders"].text


def test_the_users_and_the_systems_settings_count(course, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    (tmp_path / CONFIG).write_text('c.LateSubmissionPlugin.penalty_method = "zero"\n')
    assert looks(course)["late policy"].state == "set"


def test_what_is_wrong_is_status_1(course, settings, monkeypatch):
    settings('c.CourseDirectory.db_url = "no url"')
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}")
    result = CliRunner().invoke(app, ["doctor", str(course)])
    assert result.exit_code == 1 and "Traceback" not in result.output
    lines = result.output.splitlines()
    assert [line[7:23].strip() for line in lines] == NAMES
    wrong = {line[7:23].strip() for line in lines if line.startswith("[FAIL]")}
    assert wrong == {"sandbox", "gradebook"}
    assert any("is no URL of a database" in line for line in lines)


def test_a_course_of_an_earlier_version_lacks_lines(course, settings):
    path = course / CONFIG
    text = path.read_text(encoding="utf-8")
    path.write_text("".join(line for line in text.splitlines(True) if "ShowRubric" not in line))
    look = looks(course)["settings"]
    assert look.state == "not set" and "labsupport.grading.ledger.rubric.ShowRubric" in look.text


def test_a_folder_that_is_no_course_is_one_line(tmp_path):
    result = CliRunner().invoke(app, ["doctor", str(tmp_path)])
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert "no course directory" in line


def test_what_a_machine_can_do_and_how_to_mend_what_it_cannot(monkeypatch):
    from labsupport.cli import doctor

    def told(there):
        monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}" if there else None)
        monkeypatch.setattr(
            "labsupport.course.publication.published_here",
            lambda: Published("https://github.com/a/b" if there else ""),
        )
        return CliRunner().invoke(app, ["doctor"]).output

    able, bare = told(True), told(False)
    assert "[OK]   sandbox" in able and "[OK]   browser" in able and "github.com/a/b" in able
    for mend in ("install bubblewrap", "install chromium", "labs publish", "--no-sandbox"):
        assert mend in bare and mend not in able
