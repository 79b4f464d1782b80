"""The rubric stands in front of whoever grades by hand, and in nothing that a student gets."""

import shutil

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from nbgrader.api import Gradebook
from nbgrader.server_extensions.formgrader import handlers
from traitlets.config import Config

from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab
from labsupport.grading.demo import ON_TIME, solve, submit
from labsupport.grading.ledger.course_directory import course_api, init_course, release
from labsupport.grading.ledger.gradebook import db_url
from labsupport.grading.ledger.grades import grade_course
from labsupport.grading.ledger.rubric import KIND, with_rubrics, without_rubrics
from labsupport.grading.ledger.settings import load_config

STEM = "90_mini"
SECRET = "Rubric: 1 point for the meaning."


@pytest.fixture(scope="module")
def course(mini_path, tmp_path_factory):
    """One submission, graded by nbgrader's own command."""
    folder = init_course(tmp_path_factory.mktemp("rubric") / "mini", mini_path.parent)
    release(folder)
    lab = read_lab(mini_path)
    notebook = solve(student_notebook(lab), lab)
    answer = next(c for c in notebook.cells if c.id == "answer-why")
    answer.source = "It makes things larger."
    submit(folder, "ada", STEM, dump(notebook), ON_TIME)
    autograde(folder)
    return folder


def autograde(folder):
    with course_api(folder) as api:
        api.config.ExecuteAndJudge.sandbox = False
        result = api.autograde(STEM, "ada", force=True)
    assert result["success"], result


def autograded(folder):
    return nbformat.read(folder / "autograded" / "ada" / STEM / f"{STEM}.ipynb", as_version=4)


def kinds(notebook):
    return [c.metadata.get("labsupport", {}).get("kind") for c in notebook.cells]


def seen_in_formgrader(folder) -> str:
    config = Config()
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    about = ("assignment_id", "notebook_id", "submission_id", "index", "total", "base_url")
    resources = dict.fromkeys((*about, "student", "last_name", "first_name", "notebook_path"), "")
    resources |= {"index": 0, "total": 1}
    path = folder / "autograded" / "ada" / STEM / f"{STEM}.ipynb"
    return HTMLExporter(config=config).from_filename(str(path), resources=resources)[0]


def test_it_follows_the_answer_and_nbgrader_takes_no_notice(course):
    notebook = autograded(course)
    nbformat.validate(notebook)
    place = kinds(notebook).index(KIND)
    assert kinds(notebook)[place - 1] == "answer" and kinds(notebook).count(KIND) == 1
    assert SECRET in notebook.cells[place].source and "SOLUTION" not in notebook.cells[place].source
    assert notebook.cells[place].metadata.editable is False
    with Gradebook(db_url(course, load_config(course))) as book:
        (found,) = book.find_submission(STEM, "ada").notebooks
        names = {grade.name: grade.needs_manual_grade for grade in found.grades}
    assert names == {"judge-scale": False, "judge-twice": False, "answer-why": True}


def test_formgrader_shows_it(course):
    page = seen_in_formgrader(course)
    assert SECRET in page and page.index("It makes things larger.") < page.index(SECRET)


def test_grading_again_in_either_way_leaves_one(course):
    autograde(course)
    assert kinds(autograded(course)).count(KIND) == 1
    shutil.rmtree(course / "autograded")
    grade_course(course, sandbox=False)  # has the result already, and records it
    assert kinds(autograded(course)).count(KIND) == 1
    assert SECRET in seen_in_formgrader(course)


def test_nothing_that_a_student_gets_has_it(course):
    with course_api(course) as api:
        assert api.generate_feedback(STEM, "ada", force=True)["success"]
    given = [p for name in ("release", "feedback") for p in (course / name).rglob("*")]
    texts = {p.name: p.read_text(encoding="utf-8") for p in given if p.is_file()}
    assert set(texts) >= {f"{STEM}.ipynb", f"{STEM}.html"}
    for name, text in texts.items():
        assert "Rubric" not in text and "rubric-why" not in text, name
    assert "It makes things larger." in texts[f"{STEM}.html"]


def test_with_feedback_pages_of_another_kind_it_is_not_put_in(course):
    own = course / "nbgrader_config.py"
    before = own.read_text(encoding="utf-8")
    try:
        own.write_text(before + '\nc.GenerateFeedback.exporter_class = "nbconvert.HTMLExporter"\n')
        autograde(course)
        assert KIND not in kinds(autograded(course))
    finally:
        own.write_text(before)


def test_a_students_own_cells_are_never_taken_for_one(mini):
    notebook = student_notebook(mini)
    shown = with_rubrics(notebook, {c.name: c for c in mini.of("question")})
    assert without_rubrics(shown) == notebook and len(shown.cells) == len(notebook.cells) + 1
