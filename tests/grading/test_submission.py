"""One submission: verdicts for whatever state a notebook arrives in."""

import copy
import json
import platform
from dataclasses import replace

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from nbgrader.utils import determine_grade

from labsupport.course.build import student_notebook
from labsupport.course.fingerprint import fingerprint
from labsupport.course.source import parse_lab
from labsupport.grading.demo import solve
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.running.engine import RunLimits
from labsupport.grading.submission.submission import grade_submission
from labsupport.grading.workers.task import GradingTask

PNG = {
    "output_type": "display_data",
    "metadata": {},
    "data": {"image/png": "aGk=", "text/html": "<script>alert(1)</script>"},
}


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
        return grade_submission(
            key, notebook, seed="secret/someone", limits=limits, sandbox=sandbox
        )

    return run


def cell(notebook, name):
    return next(c for c in notebook.cells if c.id == name)


def test_verdicts_become_nbgrader_grades(grade, perfect):
    graded = grade(perfect)
    assert [(v.exercise, v.status, v.points) for v in graded.verdicts] == [
        ("scale", "passed", 2.0),
        ("twice", "passed", 1.5),
    ]
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


def test_missing_and_doubled_graded_cells_are_repaired(grade, perfect):
    notebook = copy.deepcopy(perfect)
    notebook.cells = [c for c in notebook.cells if c.id != "judge-scale"]
    extra = copy.deepcopy(cell(notebook, "judge-twice"))
    extra.id = "another"
    notebook.cells += [extra, new_code_cell("# a note of my own")]
    graded = grade(notebook)
    assert [(v.status, v.points) for v in graded.verdicts] == [("passed", 2), ("passed", 1.5)]
    repairs = graded.notebook.metadata["labsupport_grading"]["repairs"]
    assert any("judge-scale was missing" in r for r in repairs)
    assert any("judge-twice was there in 2 cells" in r for r in repairs)


def test_a_second_response_never_earns_twice_or_in_place_of_the_first(grade, perfect):
    """A right response displayed again, or by another cell, is no response."""
    notebook = copy.deepcopy(perfect)
    cell(notebook, "exercise-scale").source = (
        "import labsupport.answers.respond as asked\n"
        "once = asked.respond\n"
        "asked.respond = lambda text: (once(text), once(text))\n"
        + cell(notebook, "exercise-scale").source
    )
    verdicts = grade(notebook).verdicts
    assert [(v.status, v.points) for v in verdicts] == [("tampered", 0), ("tampered", 0)]
    assert "several responses" in verdicts[0].message

    silent = copy.deepcopy(perfect)
    cell(
        silent, "exercise-scale"
    ).source += "\nimport labsupport.answers.respond as asked\nasked.respond = lambda text: None\n"
    verdicts = grade(silent).verdicts
    assert [(v.status, v.points) for v in verdicts] == [("missing", 0), ("missing", 0)]


NOISE = """
import logging, sys, warnings
from tqdm.auto import tqdm

def noise():
    import textwrap  # late, in the middle of being graded
    warnings.warn("an old option")
    logging.getLogger("labs").error("nothing happened")
    print(textwrap.dedent("   careful"), file=sys.stderr)
    list(tqdm(range(3)))

"""


def test_noise_on_stderr_while_being_graded_costs_nothing(grade, perfect):
    notebook = copy.deepcopy(perfect)
    scale = cell(notebook, "exercise-scale")
    scale.source = NOISE + "def scale(x, factor):\n    noise()\n    return x * factor"
    graded = grade(notebook)
    assert [(v.status, v.points) for v in graded.verdicts] == [("passed", 2), ("passed", 1.5)]
    assert determine_grade(cell(graded.notebook, "judge-scale")) == (2.0, 2.0)


def test_the_same_grades_and_provenance_again_whatever_the_seed_hides(grade, perfect):
    one, two = grade(perfect), grade(perfect)
    assert [v.as_dict() for v in one.verdicts] == [v.as_dict() for v in two.verdicts]
    assert one.provenance | {"seconds": 0} == two.provenance | {"seconds": 0}
    assert platform.node() not in json.dumps(one.provenance)
    assert "someone" not in json.dumps(one.provenance) and len(one.provenance["seed"]) == 16


def test_prose_grades_nobody_and_everything_else_does(mini_path):
    text = mini_path.read_text()
    whole = fingerprint(parse_lab(text, mini_path))
    same = {
        "It has every kind of cell.": "It has them all.",
        "Because that is what scaling means.": "By its meaning.",
        '# %% alternative="scale" name="loop"': '# %% alternative="scale" name="a loop"',
        "points=1.5": "points=2",  # what a verdict is worth is worked out after it
    }
    for old, new in same.items():
        assert fingerprint(parse_lab(text.replace(old, new), mini_path)) == whole, old
    other = {
        "return torch.as_tensor(x) * factor": "return factor * torch.as_tensor(x)",
        "import torch\n": "import math, torch\n",
        "randn(rng, 4)": "randn(rng, 5)",
        "Your output equals x squared": "You squared x",
        "title: A lab as small as a lab can be\n": 'title: A lab\n#   masks: ["models/vit.py"]\n',
    }
    for old, new in other.items():
        assert old in text
        assert fingerprint(parse_lab(text.replace(old, new), mini_path)) != whole, old


def test_a_task_is_the_same_task_when_prose_changes(mini_path):
    text = mini_path.read_text()
    task = GradingTask("90_mini", text, "{}", "seed")
    again = replace(task, lab=text.replace("It has every kind of cell.", "It has them all."))
    assert task.fingerprint == again.fingerprint
    assert task.fingerprint == replace(task, lab=text.replace("points=2", "points=3")).fingerprint
    assert task.fingerprint != replace(task, seed="another").fingerprint
