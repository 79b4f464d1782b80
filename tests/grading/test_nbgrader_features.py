"""What nbgrader offers around grading keeps working with our pipeline in its autograde."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from nbgrader.plugins import CsvExportPlugin

from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab
from labsupport.grading.demo import LATE, ON_TIME, set_due_date, solve, submit
from labsupport.grading.ledger.course_directory import course_api, init_course, load_config, release
from labsupport.grading.ledger.grades import export, grade_course
from labsupport.grading.report.data import read_results

STEM = "90_mini"
SANDBOX = shutil.which("bwrap") is not None
STUDENTS = ("perfect", "late", "adds", "José-Müller", "ana@example.edu")
PLUGINS = """
import json
from nbgrader.plugins import ExportPlugin, LateSubmissionPlugin

class HalfAPointADay(LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return 0.5 * -(-total_seconds_late // 86400)

class Json(ExportPlugin):
    def export(self, gradebook):
        found = {s.id: s.score for s in gradebook.students}
        open(self.to, "w").write(json.dumps(found, ensure_ascii=False))
"""

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


@pytest.fixture(scope="module")
def graded(mini_path, tmp_path_factory):
    """A graded class of five; every test works on a copy, in which nothing is executed twice."""
    folder = tmp_path_factory.mktemp("courses") / "mini"
    init_course(folder, mini_path.parent)
    release(folder)
    set_due_date(folder, STEM)
    lab = read_lab(mini_path)
    whole = solve(student_notebook(lab), lab)
    wrong = solve(student_notebook(lab), lab, {"scale": lab.of("trap", "scale")[0].source})
    for student in STUDENTS:
        submit(
            folder,
            student,
            STEM,
            dump(wrong if student == "adds" else whole),
            LATE if student == "late" else ON_TIME,
        )
    rows = {r.student: r for r in grade_course(folder, sandbox=SANDBOX, jobs=1)}
    assert set(rows) == set(STUDENTS) and not [r for r in rows.values() if r.error]
    assert {name: row.score for name, row in rows.items()} == {
        "perfect": 3.5,
        "late": 3.5,
        "adds": 1.5,
        "José-Müller": 3.5,
        "ana@example.edu": 3.5,
    }
    if not SANDBOX:
        configure(folder, "c.ExecuteAndJudge.sandbox = False")
    return folder


@pytest.fixture
def course(graded, tmp_path, monkeypatch):
    (tmp_path / "course_plugins.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(tmp_path)
    yield shutil.copytree(graded, tmp_path / "mini")
    sys.modules.pop("course_plugins", None)


def configure(folder, line):
    path = folder / "nbgrader_config.py"
    path.write_text(path.read_text() + f"\n{line}\n")


def nbgrader(course, *words):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    python = os.pathsep.join(filter(None, (str(course.parent), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course,
        timeout=300,
        env=os.environ | {"PATH": path, "PYTHONPATH": python},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def regrade(course, student):
    with course_api(course) as api:
        result = api.autograde(STEM, student, force=True, create=True)
    assert result["success"], result


def book(course):
    return Gradebook(f"sqlite:///{course / 'gradebook.db'}")


def exported(path):
    with path.open() as file:
        return {line["student_id"]: line for line in csv.DictReader(file)}


# --- late work ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, penalty",
    [
        ('c.LateSubmissionPlugin.penalty_method = "zero"', 3.5),
        ('c.AssignLatePenalties.plugin_class = "course_plugins.HalfAPointADay"', 1.0),
        ("", 0.0),
    ],
)
def test_late_penalties(course, line, penalty):
    configure(course, line)
    for student in ("late", "perfect"):
        regrade(course, student)
    with book(course) as gradebook:
        late = gradebook.find_submission(STEM, "late")
        assert (late.total_seconds_late, late.score) == (26 * 3600, 3.5)
        assert late.late_submission_penalty == penalty
        assert gradebook.find_submission(STEM, "perfect").late_submission_penalty == 0
    lines = exported(export(course))
    assert float(lines["late"]["score"]) == 3.5 - penalty
    assert float(lines["late"]["raw_score"]) == 3.5 == float(lines["perfect"]["score"])
    (results,) = read_results(course)
    run = next(r for r in results.runs if r.student == "late")
    assert (run.score, run.penalty, run.late_hours) == (3.5 - penalty, penalty, 26)


# --- a person's word ---------------------------------------------------------------------------


def test_manual_grades_and_comments_survive_a_new_run(course):
    with book(course) as gradebook:
        judge = gradebook.find_grade("judge-scale", STEM, STEM, "adds")
        assert (judge.auto_score, judge.needs_manual_grade) == (0, False)
        judge.manual_score = 0.75  # for the idea
        answer = gradebook.find_grade("answer-why", STEM, STEM, "adds")
        assert answer.auto_score is None and answer.needs_manual_grade
        answer.manual_score, answer.needs_manual_grade = 0.5, False
        gradebook.find_comment("answer-why", STEM, STEM, "adds").manual_comment = "half of it"
        gradebook.db.commit()
        assert gradebook.find_submission(STEM, "adds").score == 2.75
    place = course / "submitted" / "adds" / STEM / f"{STEM}.ipynb"
    shutil.copy(course / "submitted" / "perfect" / STEM / f"{STEM}.ipynb", place)
    regrade(course, "adds")
    with book(course) as gradebook:
        judge = gradebook.find_grade("judge-scale", STEM, STEM, "adds")
        assert (judge.auto_score, judge.manual_score, judge.score) == (2, 0.75, 0.75)
        assert judge.needs_manual_grade  # nbgrader asks for a second look
        answer = gradebook.find_grade("answer-why", STEM, STEM, "adds")
        assert (answer.manual_score, answer.score) == (0.5, 0.5)
        comment = gradebook.find_comment("answer-why", STEM, STEM, "adds")
        assert comment.comment == "half of it"
        assert gradebook.find_submission(STEM, "adds").score == 2.75
    (results,) = read_results(course)
    run = next(r for r in results.runs if r.student == "adds")
    assert run.points == {"scale": 0.75, "twice": 1.5, "why": 0.5} and run.waiting == 2


def test_extra_credit_survives_a_new_run(course):
    with book(course) as gradebook:
        gradebook.find_grade("judge-twice", STEM, STEM, "perfect").extra_credit = 1.25
        gradebook.db.commit()
    regrade(course, "perfect")
    with book(course) as gradebook:
        assert gradebook.find_submission(STEM, "perfect").score == 4.75
    assert float(exported(export(course))["perfect"]["score"]) == 4.75
    (results,) = read_results(course)
    assert next(r for r in results.runs if r.student == "perfect").score == 4.75


# --- exporters ---------------------------------------------------------------------------------


def test_exporters(course):
    nbgrader(course, "export", "--to=all.csv")
    lines = exported(course / "all.csv")
    assert set(lines) == set(STUDENTS)
    assert float(lines["José-Müller"]["score"]) == 3.5 and float(lines["adds"]["score"]) == 1.5
    nbgrader(course, "export", "--exporter=course_plugins.Json", "--to=all.json")
    assert '"José-Müller": 3.5' in (course / "all.json").read_text()
    plugin = CsvExportPlugin(config=load_config(course))
    plugin.to, plugin.student = str(course / "one.csv"), ["adds"]
    with book(course) as gradebook:
        plugin.export(gradebook)
    assert set(exported(course / "one.csv")) == {"adds"}


# --- nbgrader's own ways to grade ----------------------------------------------------------------


def test_formgraders_button_grades_with_our_pipeline(course):
    """The button's handler calls this, with these arguments; nothing is put by beforehand."""
    shutil.rmtree(course / ".labs")
    shutil.rmtree(course / "autograded" / "adds")
    with course_api(course) as api:
        assert not api.get_submission(STEM, "adds")["autograded"]
        result = api.autograde(STEM, "adds")
        assert result["success"], result
        shown = api.get_submission(STEM, "adds")
        assert shown["autograded"] and shown["needs_manual_grade"]
        assert (shown["score"], shown["max_score"]) == (1.5, 4.5)
        (notebook,) = api.get_student_notebook_submissions("adds", STEM)
        assert notebook["score"] == 1.5
        assert api.generate_feedback(STEM, "adds")["success"]
    text = (course / "autograded" / "adds" / STEM / f"{STEM}.ipynb").read_text()
    assert "Your output equals x plus factor" in text and '"sandbox"' in text


def test_commands_grade_and_write_feedback_for_the_whole_class(course):
    shutil.rmtree(course / "autograded")
    shutil.rmtree(course / "feedback")
    nbgrader(course, "autograde", STEM)
    nbgrader(course, "generate_feedback", STEM)
    pages = {p.parents[1].name: p.read_text() for p in (course / "feedback").rglob("*.html")}
    assert set(pages) == set(STUDENTS)
    assert "Your output equals x plus factor: scaling multiplies." in pages["adds"]
    assert "2 cases right" in pages["José-Müller"]
    for page in pages.values():
        assert "def ask" not in page and "respond(" not in page
    with book(course) as gradebook:
        assert {s.student_id: s.score for s in gradebook.assignment_submissions(STEM)} == {
            "perfect": 3.5,
            "late": 3.5,
            "adds": 1.5,
            "José-Müller": 3.5,
            "ana@example.edu": 3.5,
        }
