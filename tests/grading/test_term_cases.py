"""What an instructor decides after a class has been graded: each on a copy of one graded course."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbgrader.api import Gradebook
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab
from labsupport.errors import CourseError
from labsupport.grading.demo import LATE, ON_TIME, set_due_date, solve, submit, without_diagnosis
from labsupport.grading.ledger import grades as course_grades
from labsupport.grading.ledger.course_directory import init_course, release
from labsupport.grading.ledger.due_dates import extend
from labsupport.grading.ledger.due_dates import set_due_date as set_due
from labsupport.grading.ledger.exempting import exempt
from labsupport.grading.ledger.grades import export, grade_course
from labsupport.grading.ledger.kept import read_kept
from labsupport.grading.ledger.standing import standings

STEM = "90_mini"
SANDBOX = shutil.which("bwrap") is not None
ZERO = 'c.LateSubmissionPlugin.penalty_method = "zero"'

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


@pytest.fixture(scope="module")
def answers(mini_path):
    lab = read_lab(mini_path)
    empty = student_notebook(lab)
    adds = without_diagnosis(lab.one("trap", "scale").source)
    return {
        "right": dump(solve(empty, lab)),
        "adds": dump(solve(empty, lab, {"scale": adds})),
        "blank": dump(empty),
    }


@pytest.fixture(scope="module")
def graded(mini_path, answers, tmp_path_factory):
    """ada is right, bob is right and 26 h late, cleo adds; written answers are graded: 1 of 1."""
    folder = tmp_path_factory.mktemp("cases") / "mini"
    init_course(folder, mini_path.parent)
    release(folder)
    set_due_date(folder, STEM)
    for student, kind in (("ada", "right"), ("bob", "right"), ("cleo", "adds")):
        submit(folder, student, STEM, answers[kind], LATE if student == "bob" else ON_TIME)
    rows = grade_course(folder, sandbox=SANDBOX, jobs=1)
    assert [(row.score, row.waiting, row.error) for row in rows] == [
        (3.5, 1, ""),
        (3.5, 1, ""),
        (1.5, 1, ""),
    ]
    by_hand(folder, "ada", "bob", "cleo")
    return folder


@pytest.fixture
def course(graded, tmp_path):
    return shutil.copytree(graded, tmp_path / "mini")


@pytest.fixture
def run(course, monkeypatch):
    """``labs grade`` from here: (rows by student, who was executed)."""
    ran, spread = [], course_grades.perform_all

    def perform_all(tasks, *about):
        def told():
            for label, task in tasks:
                ran.append(label[1])
                yield label, task

        yield from spread(told(), *about)

    monkeypatch.setattr(course_grades, "perform_all", perform_all)

    def grade(*labs, **about):
        ran.clear()
        rows = grade_course(course, list(labs) or None, sandbox=SANDBOX, **about)
        return {row.student: row for row in rows}, list(ran)

    return grade


def by_hand(folder, *students, points=1.0, cell="answer-why"):
    with book(folder) as gradebook:
        for student in students:
            grade = gradebook.find_grade(cell, STEM, STEM, student)
            grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.db.commit()


def book(folder):
    return Gradebook(f"sqlite:///{folder / 'gradebook.db'}")


def configure(folder, line):
    path = folder / "nbgrader_config.py"
    path.write_text(path.read_text() + f"\n{line}\n")


def edit(folder, old, new):
    path = folder / "labs" / f"{STEM}.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def labs(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def table(folder):
    with export(folder).open(encoding="utf-8", newline="") as file:
        return {line["student_id"]: line for line in csv.DictReader(file)}


def nbgrader(course, *words):
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course,
        timeout=300,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )


# --- late work ---------------------------------------------------------------------------------


def test_a_due_date_and_a_policy_set_after_grading_count(course, run):
    configure(course, ZERO)
    rows, ran = run()
    assert (rows["bob"].score, rows["bob"].penalty, rows["bob"].late) == (0, 4.5, "26 h")
    assert (rows["ada"].score, ran) == (4.5, [])
    set_due(course, "90", "2026-01-31 10:00 +01:00")  # ada handed in at 18:59 UTC
    rows, ran = run()
    assert (rows["ada"].score, rows["ada"].late, ran) == (0, "10 h", [])
    extend(course, "ada", "90", 24)
    set_due(course, "90", "")  # nbgrader would stumble over the extra time
    with pytest.raises(CourseError, match="no due date, but extra time for ada: give it one with"):
        run()
    extend(course, "ada", "90", 0)
    rows, ran = run()
    assert [(r.score, r.late) for r in rows.values()] == [(4.5, ""), (4.5, ""), (2.5, "")]


def test_hand_grades_after_the_penalty_are_taken_by_it_too(course, run):
    configure(course, ZERO)
    with book(course) as gradebook:  # as if nobody had graded the answer yet
        grade = gradebook.find_grade("answer-why", STEM, STEM, "bob")
        grade.manual_score, grade.needs_manual_grade = None, True
        gradebook.db.commit()
    assert run()[0]["bob"].penalty == 3.5
    by_hand(course, "bob")
    rows, _ = run()
    assert (rows["bob"].score, rows["bob"].penalty) == (0, 4.5)
    with book(course) as gradebook:
        assert gradebook.find_submission(STEM, "bob").late_submission_penalty == 4.5


def test_a_penalty_set_by_hand_stays_also_where_all_is_run_again(course, run):
    configure(course, ZERO)
    run()
    with book(course) as gradebook:
        (notebook,) = gradebook.find_submission(STEM, "bob").notebooks
        notebook.late_submission_penalty = 1.25
        gradebook.db.commit()
    for again in (False, True):
        rows, ran = run("90", students=["bob"], again=again)
        assert ran == ["bob"] * again and (rows["bob"].score, rows["bob"].penalty) == (3.25, 1.25)
        assert rows["bob"].notes == ["its late penalty, 1.25, was set by hand and is kept"]


def test_a_policy_that_fails_costs_no_grade_and_says_so(course, run, tmp_path, monkeypatch):
    (tmp_path / "broken_policy.py").write_text(
        "from nbgrader.plugins import LateSubmissionPlugin\n"
        "class Broken(LateSubmissionPlugin):\n"
        "    def late_submission_penalty(self, student_id, score, total_seconds_late):\n"
        "        return 1 / 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    configure(course, 'c.AssignLatePenalties.plugin_class = "broken_policy.Broken"')
    rows, _ = run()
    assert rows["bob"].error.startswith("the course's late policy fails: ZeroDivisionError")
    assert rows["ada"].score == 4.5 and not rows["ada"].error
    assert (table(course)["bob"]["score"], table(course)["bob"]["state"]) == ("", "failed")


def test_late_by_the_platforms_word_without_a_time(course, run):
    place = course / "submitted" / "ada" / STEM
    (place / "timestamp.txt").unlink()
    (place / "late.txt").write_text("Canvas\n")
    configure(course, ZERO)
    rows, _ = run()
    assert (rows["ada"].late, rows["ada"].penalty) == ("late, says Canvas", 0)
    assert table(course)["ada"]["late"] == "late, says Canvas"


# --- points ------------------------------------------------------------------------------------


def test_points_that_are_not_released_are_refused_everywhere(course, run):
    edit(course, " points=2\n", " points=1\n")
    with pytest.raises(CourseError, match="has 1 points, the released lab 2: .*course release DIR"):
        run()
    done = nbgrader(course, "autograde", STEM, "--student", "ada", "--force")
    assert done.returncode != 0 and "labs course release DIR 90" in done.stderr
    told = labs("grade", course)
    assert told.exit_code == 1 and len(told.output.splitlines()) == 1


def test_an_exercise_that_leaves_the_lab_takes_its_points_along(course, run):
    path = course / "labs" / f"{STEM}.py"
    before, rest = path.read_text().split('# %% exercise="twice"')
    path.write_text(before + rest[rest.index('# %% experiment="slow"') :])
    told = []
    release(course, say=told.append)
    assert told == [f"twice of {STEM} is gone: so are its points, those given by hand too"]
    rows, ran = run(jobs=1)
    assert {s: (row.score, row.max_score) for s, row in rows.items()} == {
        "ada": (3, 3),
        "bob": (3, 3),
        "cleo": (1, 3),
    }
    assert sorted(ran) == ["ada", "bob", "cleo"] and not any(r.waiting for r in rows.values())
    with book(course) as gradebook:
        assert gradebook.find_assignment(STEM).max_score == 3
    path.write_text(before + '# %% exercise="twice"' + rest)
    with pytest.raises(CourseError, match="nbgrader cannot add to it .*twice"):
        release(course)


def test_a_graded_line_with_earlier_points_is_no_edit(course, run, answers):
    edit(course, " points=2\n", " points=4\n")
    release(course)
    submit(course, "dora", STEM, answers["right"], ON_TIME)  # of the release before
    rows, ran = run(jobs=1)
    assert ran == ["dora"] and rows["ada"].score == 6.5 and rows["dora"].score == 5.5
    assert table(course)["dora"]["repaired"] == ""
    page = (course / "feedback" / "ada" / STEM / f"{STEM}.html").read_text()
    assert "4 of 4 points" in page and "2 of 2 points" not in page


# --- exemptions --------------------------------------------------------------------------------


def test_an_exemption_comes_and_goes(course, run):
    by_hand(course, "cleo", points=0.5)
    exempt(course, "cleo", "90", "why")
    rows, ran = run()
    assert (rows["cleo"].score, rows["cleo"].max_score, ran) == (1.5, 3.5, [])
    line = table(course)["cleo"]
    assert (line["score"], line["max_score"], line["reason"]) == ("1.5", "3.5", "exempt from why")
    with book(course) as gradebook:  # as formgrader and nbgrader's exporter have it
        assert gradebook.find_submission(STEM, "cleo").score == 1.5
        comment = gradebook.find_comment("answer-why", STEM, STEM, "cleo")
        assert comment.comment == "Exempt: this exercise does not count."
    exempt(course, "cleo", "90", "why", undo=True)
    rows, _ = run()
    assert (rows["cleo"].score, rows["cleo"].max_score, rows["cleo"].waiting) == (2, 4.5, 0)
    with book(course) as gradebook:
        assert gradebook.find_comment("answer-why", STEM, STEM, "cleo").comment is None


def test_an_exemption_holds_when_all_is_run_again_and_before_there_is_anything(
    course, run, answers
):
    (course / "exemptions.csv").write_text("lab;student;exercise\n90;ada;why\n")
    with pytest.raises(CourseError, match="does not begin with the columns lab,student,exercise"):
        run()
    (course / "exemptions.csv").write_text("lab,student,exercise\n90,ada,why\n90,cleo,scale\n")
    submit(course, "dora", STEM, answers["right"], ON_TIME)
    exempt(course, "dora", "90", "why")
    rows, ran = run(again=True, jobs=1, students=["cleo", "dora", "ada"])
    assert sorted(ran) == ["ada", "cleo", "dora"]
    assert {s: (row.score, row.max_score, row.waiting) for s, row in rows.items()} == {
        "ada": (3.5, 3.5, 0),
        "cleo": (2.5, 2.5, 0),
        "dora": (3.5, 3.5, 0),
    }


def test_who_or_what_is_not_there_is_named(course, run):
    for words, error in (
        (("grade", course, "07"), r"no lab '07' in .*; there are 90_mini"),
        (("grade", course, "90", "carl"), r"no lab 'carl' .*a student is named with --student"),
        (("grade", course, "--student", "adda"), "no student 'adda'; there are ada"),
        (("course", "exempt", course, "ada", "90", "scales"), "there are scale, twice, why"),
        (("course", "exempt", course, "zoe", "90", "scale"), "no student 'zoe'; there are ada,"),
        (("course", "exempt", course, "ada", "90", "why", "--undo"), "is not exempt from why"),
        (("course", "extend", course, "ada", "91", "--hours", "1"), "no lab '91' is released"),
        (("course", "due", course, "90", "tomorrow-ish"), "is no time: write it as"),
        (("course", "due", course, "90", "2026-01-31 10:00 Mars"), "is no time: write it as"),
    ):
        told = labs(*words)
        (line,) = told.output.splitlines()
        assert told.exit_code == 1 and re.search(error, line), line


# --- hand grades -------------------------------------------------------------------------------


def test_what_has_not_changed_keeps_its_hand_grade(course, run):
    by_hand(course, "cleo", points=0.75, cell="judge-scale")
    rows, ran = run(again=True, jobs=1, students=["cleo"])
    assert ran == ["cleo"] and (rows["cleo"].score, rows["cleo"].waiting) == (3.25, 0)
    path = course / "submitted" / "cleo" / STEM / f"{STEM}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (c for c in notebook.cells if c.id == "answer-why")
    cell.source += "\n\nAnd because of more."
    path.write_text(dump(notebook))
    assert (
        table(course)["cleo"]["score"] == ""
        and "run 'labs grade'" in table(course)["cleo"]["reason"]
    )
    rows, ran = run(jobs=1)
    assert ran == ["cleo"] and (rows["cleo"].score, rows["cleo"].waiting) == (3.25, 1)
    assert rows["cleo"].notes == [
        "1 graded by hand before and changed since, to be looked at again: why"
    ]


def test_who_was_deleted_from_the_gradebook_and_is_still_there(course, run):
    with book(course) as gradebook:
        gradebook.remove_student("cleo")
    rows, _ = run()
    (note,) = rows["cleo"].notes
    assert note.startswith("is not in the gradebook any more and comes back without hand grades")
    assert "move submitted/cleo elsewhere" in note and rows["cleo"].waiting == 1
    assert rows["ada"].notes == []


# --- a second run, and failures of ours -----------------------------------------------------------


def test_nbgraders_autograde_says_that_nothing_was_run(course, run):
    done = nbgrader(course, "autograde", STEM, "--student", "cleo", "--force")
    assert done.returncode == 0, done.stderr
    assert "--student cleo --again' runs it again" in done.stderr
    rows, ran = run(students=["cleo"], again=True, jobs=1)
    assert list(rows) == ran == ["cleo"]


def test_a_failure_of_ours_is_no_zero(course, run, answers, monkeypatch):
    submit(course, "ada", STEM, answers["adds"], ON_TIME)
    submit(course, "dora", STEM, answers["right"], ON_TIME)

    def perform_all(tasks, *about):
        for label, _ in tasks:
            yield label, RuntimeError("the sandbox died")

    with monkeypatch.context() as patch:
        patch.setattr(course_grades, "perform_all", perform_all)
        run()
    found = {s: (line["score"], line["state"]) for s, line in table(course).items()}
    assert found == {
        "ada": ("", "failed"),
        "bob": ("4.5", "graded"),
        "cleo": ("2.5", "graded"),
        "dora": ("", "failed"),
    }
    reason = table(course)["ada"]["reason"]  # outlives the run
    assert reason.startswith("RuntimeError: the sandbox died (the gradebook keeps an earlier grade")
    kept = read_kept(course, (STEM, "dora"))["trouble"]
    assert json.dumps(kept) and {one.state for one in standings(course)} == {"graded", "failed"}
    rows, ran = run(jobs=1)
    assert sorted(ran) == ["ada", "dora"] and not any(row.error for row in rows.values())
    assert (rows["ada"].score, rows["ada"].waiting) == (2.5, 0)  # the answer is as it was graded
    assert table(course)["dora"]["state"] == "waiting"
