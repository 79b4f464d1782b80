"""What ``labs grade`` says and returns to a shell."""

import errno
import re
import sys

import pytest
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.cli.grading_output import progress
from labsupport.errors import CourseError, SandboxError
from labsupport.grading.ledger import grades as course_grades
from labsupport.grading.ledger.course_directory import init_course
from labsupport.grading.ledger.grades import Row


@pytest.fixture
def course(tmp_path, mini_path, monkeypatch):
    monkeypatch.setattr(course_grades, "export", lambda folder: folder / "grades.csv")
    return init_course(tmp_path / "mini", mini_path.parent)


def grade(course, monkeypatch, outcome):
    def grade_course(*about):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(course_grades, "grade_course", grade_course)
    return CliRunner().invoke(app, ["grade", str(course)])


def test_exit_status_says_whether_all_were_graded(course, monkeypatch):
    good = Row("ada", "90_mini", 4.5, 4.5)
    bad = Row("bob", "90_mini", 1, 4.5, error="WorkersDied: the processes that graded it died")
    assert grade(course, monkeypatch, [good]).exit_code == 0
    some = grade(course, monkeypatch, [good, bad])
    assert some.exit_code == 2
    (line,) = (line for line in some.output.splitlines() if "bob" in line)
    assert "WorkersDied" in line and "- of 4.5" in line  # an old score never stands in the table


@pytest.mark.parametrize(
    "error",
    [
        CourseError("the Dask scheduler tcp://one:1 is gone"),
        SandboxError("bubblewrap is missing"),
        OSError(errno.ENOSPC, "No space left on device", "grades.csv"),
    ],
)
def test_what_its_user_can_mend_is_one_line_and_status_1(course, monkeypatch, error):
    result = grade(course, monkeypatch, error)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert re.match("labs: (the Dask|bubblewrap|grades.csv: No space)", line)


def test_progress_in_a_log_is_a_few_lines_with_rate_and_time_left(capsys, monkeypatch):
    seconds = iter(range(0, 10_000, 10))
    monkeypatch.setattr("tqdm.std.time", lambda: next(seconds))
    assert list(progress(iter(range(40)), desc="executing", total=40)) == list(range(40))
    said = capsys.readouterr().err
    lines = said.splitlines()
    assert "\r" not in said and "0/40" in lines[0] and "40/40" in lines[-1]
    assert 3 <= len(lines) < 25
    assert re.search(r"\d+/40 \[[\d:]+<[\d:]+, .*(submission/s|s/submission)\]", lines[-2])


def test_progress_on_a_terminal_stays_on_its_line(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress(iter("ab"), desc="executing", total=2)) == ["a", "b"]
    assert capsys.readouterr().err.count("\n") <= 1
