"""One submission: verdicts for whatever state a notebook arrives in."""

import copy

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from nbgrader.utils import determine_grade

from labsupport.course.build import student_notebook
from labsupport.grading.demo import solve
from labsupport.grading.engine import RunLimits
from labsupport.grading.judge import AnswerKey
from labsupport.grading.submission import grade_notebook

PNG = {"output_type": "display_data", "metadata": {},
       "data": {"image/png": "aGk=", "text/html": "<script>alert(1)</script>"}}


@pytest.fixture(scope="module")
def key(mini_path):
    from labsupport.course.source import read_lab

    return AnswerKey(read_lab(mini_path))


@pytest.fixture(scope="module")
def perfect(key):
    return solve(student_notebook(key.lab), key.lab, outputs={"experiment-slow": [PNG]})


@pytest.fixture(scope="module")
def grade(key, sandbox):
    def run(notebook, seconds=20):
        limits = RunLimits(cell_seconds=seconds if sandbox else 20)  # torch is imported in one
        return grade_notebook(
            key, notebook, notebook, seed="secret/someone", limits=limits, sandbox=sandbox
        )

    return run


def cell(notebook, name):
    return next(c for c in notebook.cells if c.id == name)


def test_verdicts_become_nbgrader_grades(grade, perfect):
    graded = grade(perfect)
    assert [(v.exercise, v.status, v.points) for v in graded.verdicts] == [
        ("scale", "passed", 2.0), ("twice", "passed", 1.5)]
    nbformat.validate(graded.notebook)
    assert determine_grade(cell(graded.notebook, "judge-scale")) == (2.0, 2.0)
    assert cell(graded.notebook, "judge-scale").source.startswith("# Graded here")
    about = graded.notebook.metadata["labsupport_grading"]
    assert about["provenance"]["profile"] == "smoke" and len(about["verdicts"]) == 2
    own = cell(graded.notebook, "experiment-slow").outputs
    assert "as the student handed it in" in own[0].text
    assert own[1].data == {"image/png": "aGk="}  # the picture stays, the script does not


def test_noise_crashes_loops_and_overridden_checks(grade, perfect):
    notebook = copy.deepcopy(perfect)
    scale = cell(notebook, "exercise-scale")
    scale.source = "import sys\nprint('careful', file=sys.stderr)\n" + scale.source
    cell(notebook, "exercise-twice").source = "def twice(x):\n    while True: pass"
    graded = grade(notebook, seconds=4)
    assert [v.status for v in graded.verdicts] == ["passed", "timeout"]
    assert determine_grade(cell(graded.notebook, "judge-scale")) == (2.0, 2.0)
    assert determine_grade(cell(graded.notebook, "judge-twice")) == (0.0, 1.5)

    cell(notebook, "exercise-twice").source = "def twice(x):\n    import os; os._exit(1)"
    statuses = [v.status for v in grade(notebook).verdicts]
    assert statuses == ["passed", "crashed"]


def test_forgeries_gain_nothing(grade, perfect):
    notebook = copy.deepcopy(perfect)
    mime = "application/vnd.labsupport.response+json"
    cell(notebook, "exercise-scale").source = (
        "from IPython.display import display\n"
        "def scale(x, factor):\n"
        f"    display({{'{mime}': {{'nonce': '0', 'answers': []}}}}, raw=True)\n"
        "    return x * 0\n"
        "import torch\n"
        "torch.equal = torch.allclose = lambda *a, **k: True\n"
        "class Same(float):\n"
        "    __eq__ = lambda *a: True\n"
    )
    graded = grade(notebook)
    assert [v.points for v in graded.verdicts][0] == 0
    assert graded.verdicts[0].status == "tampered"


def test_missing_and_doubled_graded_cells(grade, perfect):
    notebook = copy.deepcopy(perfect)
    notebook.cells = [c for c in notebook.cells if c.id != "judge-scale"]
    extra = copy.deepcopy(cell(notebook, "judge-twice"))
    extra.id = "another"
    notebook.cells += [extra, new_code_cell("# a note of my own")]
    graded = grade(notebook)
    assert [(v.status, v.points) for v in graded.verdicts] == [("missing", 0), ("missing", 0)]
    assert "more than once" in graded.verdicts[1].message
