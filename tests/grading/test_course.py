"""A small course from source to grades.csv, through our command and through nbgrader's own."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from labsupport.course.build import dump, student_notebook
from labsupport.course.publication import published_here
from labsupport.course.source import read_lab
from labsupport.errors import CourseError, SandboxError
from labsupport.grading.demo import grade_answers_by_hand, make_class, set_due_date
from labsupport.grading.ledger.course_directory import init_course, release
from labsupport.grading.ledger.grades import export, grade_course, read_rows, submissions
from labsupport.grading.ledger.store import ResultStore, only_run

STEM = "90_mini"
SANDBOX = shutil.which("bwrap") is not None


@pytest.fixture(scope="module")
def course(mini_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("courses") / "mini"
    init_course(folder, mini_path.parent)
    release(folder)
    set_due_date(folder, STEM)
    make_class(folder, STEM)
    return folder


@pytest.fixture(scope="module")
def rows(course):
    graded = grade_course(course, sandbox=SANDBOX, jobs=2)
    errors = {(r.assignment, r.student): r.error for r in graded if r.error}
    assert grade_answers_by_hand(course, STEM) == 6
    return {r.student: r for r in read_rows(course, submissions(course), errors)}


def nbgrader(course: Path, *words: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course,
        check=True,
        env=os.environ | {"PATH": path},
        capture_output=True,
        timeout=300,
    )


def test_nbgraders_release_equals_ours(course, mini):
    released = (course / "release" / STEM / f"{STEM}.ipynb").read_text()
    assert json.loads(released) == json.loads(dump(student_notebook(mini, published_here())))
    everything = "".join(p.read_text() for p in (course / "release").rglob("*") if p.is_file())
    for secret in ("SOLUTION", "as_tensor(x) * factor", "stand_in", "Rubric", "def ask"):
        assert secret not in everything
    assert [p.name for p in (course / "release" / STEM).iterdir()] == [f"{STEM}.ipynb"]


def test_scores(rows):
    scores = {student: row.score for student, row in rows.items()}
    assert scores == {
        "perfect": 4.5,
        "late": 4.5,
        "other-1": 4.5,
        "other-2": 4.5,
        "blank": 0,
        "broken": 0,
        "trap-adds": 2.5,
        "trap-squares": 3,
    }
    assert rows["late"].late_seconds == 26 * 3600 and rows["perfect"].late_seconds == 0
    assert "damaged" in rows["broken"].error and "\n" not in rows["broken"].error
    assert rows["trap-adds"].lost == {"scale": "failed"}
    assert all(row.waiting == 0 for row in rows.values())


def test_export_is_nbgraders(course, rows):
    with export(course).open() as file:
        table = {line["student_id"]: line for line in csv.DictReader(file)}
    assert float(table["perfect"]["score"]) == 4.5 == float(table["perfect"]["max_score"])
    assert float(table["blank"]["score"]) == 0 and set(table) == set(rows)


def test_feedback_explains_and_shows_no_answer(course, rows):
    page = (course / "feedback" / "trap-adds" / STEM / f"{STEM}.html").read_text()
    assert "Your output equals x plus factor: scaling multiplies." in page
    assert "as_tensor" not in page and "def ask" not in page and "respond(" not in page
    assert not (course / "feedback" / "broken").exists()


def test_same_grades_again_and_through_nbgraders_command(course, rows):
    def verdicts(student):
        path = course / "autograded" / student / STEM / f"{STEM}.ipynb"
        return nbformat.read(path, as_version=4).metadata["labsupport_grading"]["verdicts"]

    before = verdicts("trap-adds")
    nbgrader(course, "autograde", STEM, "--student", "trap-adds", "--force")
    assert verdicts("trap-adds") == before
    nbgrader(course, "generate_feedback", STEM, "--student", "trap-adds", "--force")
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        found = gradebook.find_submission(STEM, "trap-adds")
        auto = sum(g.auto_score or 0 for n in found.notebooks for g in n.grades)
        assert auto == 1.5


def test_ungraded_points_are_refused_without_execution(course, rows):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        nbgrader(course, "autograde", STEM, "--student", "blank", "--force", "--no-execute")
    assert "points come from running the notebook" in caught.value.stderr.decode()


def test_what_is_graded_is_not_graded_twice_and_a_change_is_noticed(course, rows, monkeypatch):
    asked = []

    def perform_all(tasks, jobs, scheduler):
        for label, task in tasks:
            asked.append(task.seed.split("/")[-1])
            yield label, RuntimeError("a worker was lost\ntwice")

    monkeypatch.setattr("labsupport.grading.ledger.grades.perform_all", perform_all)
    grade_course(course, sandbox=SANDBOX)
    assert asked == []
    path = course / "submitted" / "trap-adds" / STEM / f"{STEM}.ipynb"
    path.write_text(path.read_text().replace("x + factor", "x + 2 * factor"))
    again = {r.student: r for r in grade_course(course, sandbox=SANDBOX)}
    assert asked == ["trap-adds"]
    assert again["trap-adds"].error == (
        "RuntimeError: a worker was lost (the gradebook keeps an earlier grade, 2.5 points)"
    )
    assert again["perfect"].score == 4.5 and not again["perfect"].error


def test_a_typo_can_be_mended_after_hand_in(course, rows):
    path = course / "labs" / f"{STEM}.py"
    path.write_text(path.read_text().replace("It has every kind", "It has each kind"))
    release(course)
    assert "each kind" in (course / "release" / STEM / f"{STEM}.ipynb").read_text()
    assert read_lab(path).points == 4.5


def test_without_bubblewrap_nothing_is_run(course, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match="apt-get install bubblewrap.*--no-sandbox"):
        grade_course(course)


def test_one_run_at_a_time(course):
    with only_run(course), pytest.raises(CourseError, match="is being graded by another run"):
        grade_course(course, sandbox=SANDBOX)


def test_a_result_is_whole_or_not_there(tmp_path, monkeypatch):
    store = ResultStore(tmp_path)
    store.put("a", "one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CourseError, match="No space left on device; what is done stays done"):
        store.put("a", "two")
    assert store.get("a") == "one" and store.get("b") is None
    assert [p.name for p in (tmp_path / ".labs" / "results").iterdir()] == ["a.json"]


def test_courses_are_never_overwritten(course, mini_path):
    with pytest.raises(CourseError, match="nothing was changed"):
        init_course(course, mini_path.parent)


def test_a_folder_that_is_no_course_is_named(tmp_path):
    with pytest.raises(CourseError, match="no course directory: make one with 'labs course init'"):
        read_rows(tmp_path, [], {})
