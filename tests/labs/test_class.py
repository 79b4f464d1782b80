"""The whole way of a class, as `make demo` goes it: source, release, hand-in, grades, feedback."""

import csv

import pytest
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.course.source import find_labs, read_lab
from labsupport.grading.demo import known_mistakes
from labsupport.grading.judging.lab_code import read_judge
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab():
    return read_lab(find_labs(ROOT / "solutions", ["01"])[0])


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "course"
    result = CliRunner().invoke(app, ["demo", str(folder), "--lab", "01"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder, result.output


@pytest.fixture(scope="module")
def grades(course):
    with (course[0] / "grades.csv").open() as file:
        return {line["student_id"]: line for line in csv.DictReader(file)}


def test_at_least_twelve_and_each_gets_what_it_deserves(lab, grades):
    assert len(grades) >= 12
    total = lab.points
    broken = grades["broken"]
    assert (broken["score"], broken["state"]) == ("", "unreadable")  # and never a zero
    scores = {s: float(line["score"]) for s, line in grades.items() if line is not broken}
    assert {float(line["max_score"]) for line in grades.values()} == {total}
    for student in ("perfect", "late", "other-1", "other-2"):
        assert scores.pop(student) == total
    assert scores.pop("blank") == 0
    for student, trap in known_mistakes(lab).items():
        lost = total - scores.pop(student)
        most = lab.one("judge", trap.name).points
        least = min((read_judge(lab.one("judge", trap.name)).parts or {"": most}).values())
        assert least <= lost <= most, trap.label
    assert all(score == total for score in scores.values())  # what is left are other right answers


def test_the_broken_one_is_named_and_the_late_one_is_late(course, grades):
    folder, output = course
    assert "is damaged: JSON breaks off" in " ".join(output.split())
    assert "26 h" in output and str(folder / "grades.csv") in output.replace("\n", "")
    assert not (folder / "autograded" / "broken").exists()


def test_feedback_of_every_readable_submission(course, grades, lab):
    folder, _ = course
    for student in set(grades) - {"broken"}:
        page = folder / "feedback" / student / lab.stem / f"{lab.stem}.html"
        assert page.stat().st_size > 10_000
    page = (folder / "feedback" / "trap-no-scaling" / lab.stem / f"{lab.stem}.html").read_text()
    assert "attention: failed" in page and "patchify: passed" in page
