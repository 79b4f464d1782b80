"""Files as people hand them in, graded from end to end in one small course: points, what is said,
and pages. What is read of a file and made of a cell is tested without kernels beside this.
"""

import base64
import copy
import json
import zipfile

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook

from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab
from labsupport.grading.collect.collect import collect
from labsupport.grading.demo import ON_TIME, set_due_date, solve, submit
from labsupport.grading.ledger.course_directory import course_api, init_course, release
from labsupport.grading.ledger.grades import grade_course
from tests.grading.small_class import STEM

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
PICTURE = {"image.png": {"image/png": PNG}}


def cell(notebook, name):
    return next(c for c in notebook.cells if c.id == name)


def _pictures(notebook):
    text = "![image.png](attachment:image.png)"
    notebook.cells[0].source += f"\n\n{text}"
    notebook.cells[0].attachments = PICTURE
    answer = cell(notebook, "answer-why")
    answer.source = "See ![щенок 1.png](attachment:щенок 1.png), ![gone](attachment:gone.png)"
    answer.attachments = {"щенок 1.png": {"image/png": PNG}}
    notebook.cells.append(new_markdown_cell(text, id="mine", attachments=PICTURE))


def _answer_below(notebook):
    cell(notebook, "answer-why").source = "Your answer here."
    notebook.cells.append(new_markdown_cell("My answer is in a new cell.", id="mine"))


def _colab(notebook):
    twice = cell(notebook, "exercise-twice")
    twice.source = "from google.colab import drive\ndrive.mount('/content')\n" + twice.source


def _cuda(notebook):
    scale = cell(notebook, "exercise-scale")
    scale.source = 'def scale(x, factor):\n    return x.to("cuda") * factor'


def _magics(notebook):
    scale = cell(notebook, "exercise-scale")
    scale.source = "%%time\n%matplotlib inline\n!echo installed\n" + scale.source
    twice = cell(notebook, "exercise-twice")
    twice.source = "%%writefile twice.py\n" + twice.source
    text = "from IPython.display import Markdown\nMarkdown('![a](attachment:gone.png)')"
    notebook.cells.append(new_code_cell(text, id="mine"))


def _imports(notebook):
    setup = next(c for c in notebook.cells if "setup" in c.metadata.get("tags", []))
    setup.source = "from google.colab import files\nfrom einops import reduce\nimport torch as t"
    scale = cell(notebook, "exercise-scale")
    scale.source = "def scale(x, factor):\n    return reduce(x, 'n -> n', 'sum') * factor"


def _stub_copy(notebook):
    spare = copy.deepcopy(cell(notebook, "exercise-twice"))
    spare.id, spare.source = "copied", "def twice(x):\n    pass"
    spare.source = _stub_copy.stub
    notebook.cells.insert(notebook.cells.index(cell(notebook, "exercise-twice")) + 1, spare)


CHANGES = {
    "pictures": _pictures,
    "below": _answer_below,
    "colab": _colab,
    "cuda": _cuda,
    "magics": _magics,
    "imports": _imports,
    "copied": _stub_copy,
}


@pytest.fixture(scope="module")
def course(tmp_path_factory, mini_path):
    folder = tmp_path_factory.mktemp("field") / "vit-2026"
    lab = read_lab(mini_path)
    empty = student_notebook(lab)
    _stub_copy.stub = cell(empty, "exercise-twice").source
    init_course(folder, mini_path.parent)
    release(folder)
    set_due_date(folder, STEM)
    for student, change in CHANGES.items():
        notebook = solve(empty, lab)
        change(notebook)
        submit(folder, student, STEM, dump(notebook), ON_TIME)
    plain = json.loads(dump(solve(empty, lab)))
    for one in plain["cells"]:
        one.pop("execution_count", None)  # as PyCharm saves
        one.setdefault("outputs", [])  # as an older VS Code saves
    plain["metadata"]["kernelspec"].pop("display_name")
    _write(folder, "editors", json.dumps(plain).encode("utf-16"))
    _write(folder, "page", b"<!DOCTYPE html><html>Sign in</html>")
    _write(folder, "clock", dump(solve(empty, lab)).encode(), "yesterday evening")
    _from_canvas(folder, solve(empty, lab))
    return folder


def _write(folder, student, data, when="2026-01-31 12:00:00 UTC"):
    submit(folder, student, STEM, "", ON_TIME)
    place = folder / "submitted" / student / STEM
    (place / f"{STEM}.ipynb").write_bytes(data)
    (place / "timestamp.txt").write_text(when)


@pytest.fixture(scope="module")
def rows(course):
    return {row.student: row for row in grade_course(course)}


def _from_canvas(folder, notebook):
    """A student whose work comes from the learning platform, without a time."""
    bundle = folder.parent / "submissions.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr(f"doejane_LATE_4711_90210_{STEM}.ipynb", dump(notebook))
    assert collect(folder, bundle, "90").complete


def graded(course, student):
    path = course / "autograded" / student / STEM / f"{STEM}.ipynb"
    return nbformat.read(path, as_version=4)


def about(course, student):
    found = graded(course, student).metadata["labsupport_grading"]
    return found["repairs"], {v["exercise"]: v["message"] for v in found["verdicts"]}


def page(course, student):
    path = course / "feedback" / student / STEM / f"{STEM}.html"
    return path.read_text(encoding="utf-8")


def test_pictures_are_on_the_page_and_a_lost_one_is_a_note(course, rows):
    assert (rows["pictures"].error, rows["pictures"].score) == ("", 3.5)
    html = page(course, "pictures")
    assert html.count(f"base64,{PNG}") == 3
    assert "the file has none named gone.png" in html
    repairs, _ = about(course, "pictures")
    assert repairs == ["answer-why: it refers to a picture that is not in the file: gone.png"]
    # formgrader makes its page with nbconvert too
    HTMLExporter().from_notebook_node(graded(course, "pictures"))


def test_an_answer_below_waits_for_a_person(course, rows):
    assert (rows["below"].waiting, rows["below"].score) == (1, 3.5)
    assert "taken for it" in about(course, "below")[0][0]
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        found = gradebook.find_grade("answer-why", STEM, STEM, "below")
        assert found.needs_manual_grade


def test_the_cells_own_first_error_is_the_message(course, rows):
    message = about(course, "colab")[1]["twice"]
    assert message.startswith("its cell stopped with ModuleNotFoundError: No module named 'google")
    assert "on Colab only" in message and rows["colab"].score == 2


def test_a_gpu_is_named(course, rows):
    assert about(course, "cuda")[1]["scale"].startswith("1 numbers: grading runs on a CPU: ")
    assert rows["cuda"].score == 1.5


def test_magics_that_change_nothing_cost_nothing_and_others_are_named(course, rows):
    message = about(course, "magics")[1]["twice"]
    assert message.startswith("its cell begins with %%writefile")
    assert "attachment%3Agone.png" in page(course, "magics")  # in an output: no page fails of it
    assert rows["magics"].score == 2


def test_added_imports_are_there(course, rows):
    assert rows["imports"].score == 3.5
    (repair,) = about(course, "imports")[0]
    assert "kept after it: from google.colab import files, from einops import reduce" in repair


def test_a_copied_stub_does_not_win(course, rows):
    assert rows["copied"].score == 3.5
    assert about(course, "copied")[0] == [
        "a copy of exercise-twice as it was released was left out"
    ]


def test_what_editors_leave_out_is_mended_and_said(course, rows):
    assert (rows["editors"].error, rows["editors"].score) == ("", 3.5)
    repairs, _ = about(course, "editors")
    for word in ("UTF-16", "display_name", "without a count", "another kind of cell"):
        assert any(word in repair for repair in repairs)
        assert word in page(course, "editors")


def test_what_is_no_notebook_says_what_to_ask_for(rows):
    assert "is a web page under a notebook's name" in rows["page"].error
    assert "ask for the notebook itself" in rows["page"].error


def test_a_time_that_is_none_is_named_in_one_line(rows):
    assert "timestamp.txt" in rows["clock"].error and "yesterday evening" in rows["clock"].error
    assert "2026-01-31 22:15:03 UTC" in rows["clock"].error


def test_nbgraders_own_autograde_reads_the_same(course, rows):
    """The course's exporter and steps, as formgrader's button starts them."""
    before = graded(course, "editors").metadata["labsupport_grading"]
    with course_api(course) as api:
        result = api.autograde(STEM, "editors", force=True)
    assert result["success"], result
    assert graded(course, "editors").metadata["labsupport_grading"]["repairs"] == before["repairs"]


def test_feedback_of_what_a_platform_had_is_released_by_nbgrader(course, rows, tmp_path):
    assert (rows["4711"].error, rows["4711"].score) == ("", 3.5)
    (tmp_path / "exchange").mkdir(mode=0o777)
    with course_api(course) as api:
        api.config.Exchange.root = str(tmp_path / "exchange")
        result = api.release_feedback(STEM, "4711")
    assert result["success"], result
    (page,) = (tmp_path / "exchange").rglob("*.html")
    assert "twice" in page.read_text(encoding="utf-8")
