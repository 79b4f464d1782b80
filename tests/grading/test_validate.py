"""nbgrader's Validate on a student's notebook: no success where something is not solved."""

import io
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from nbgrader.validator import Validator

from labsupport.course.build import ASSERTION, is_graded_line, student_notebook
from labsupport.course.source import find_labs, read_lab
from labsupport.grading.demo import solve
from labsupport.grading.judging.lab_code import namespace_of
from labsupport.notebook.check import Check
from labsupport.notebook.failures import CheckFailed
from labsupport.notebook.solved import note, solved

LABS = find_labs(Path(__file__).parents[2] / "solutions")
FAILS = ASSERTION.format("'scale', 'scale'")


def validated(notebook, folder) -> str:
    path = folder / "90_mini.ipynb"
    nbformat.write(notebook, path)
    validator = Validator()
    validator.stream = io.StringIO()
    validator.validate_and_print(str(path))
    return validator.stream.getvalue()


def test_an_unsolved_lab_is_no_success_and_says_what_is_not_solved(mini, tmp_path):
    notebook = student_notebook(mini)
    for cell in notebook.cells:
        if cell.metadata.get("labsupport", {}).get("kind") == "answer":
            cell.source = "Because that is what scaling means."
    said = validated(notebook, tmp_path)
    assert "Success" not in said and "VALIDATION FAILED ON 2 CELL(S)" in said
    assert "    scale is not solved yet: it still raises NotImplementedError.\n" in said
    assert "Traceback" not in said


def test_a_solved_lab_passes_also_on_the_command_line(mini, tmp_path):
    notebook = solve(student_notebook(mini), mini)
    assert "Success! Your notebook passes all the tests." in validated(notebook, tmp_path)
    one = solve(
        student_notebook(mini), mini, {"twice": "def twice(x):\n    raise NotImplementedError"}
    )
    nbformat.write(one, tmp_path / "90_mini.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", "validate", "90_mini.ipynb"],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "VALIDATION FAILED ON 1 CELL(S)" in done.stdout
    assert "twice is not solved yet" in done.stdout and "Success" not in done.stdout


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem[:2])
def test_every_labs_graded_lines_tell_the_stub_from_the_solution(path):
    lab = read_lab(path)
    released = student_notebook(lab)
    kinds = [(c.metadata.get("labsupport", {}), c.source) for c in released.cells]
    stubs = {about["name"]: text for about, text in kinds if about.get("kind") == "exercise"}
    lines = {about["name"]: text for about, text in kinds if about.get("kind") == "judge"}
    assert set(stubs) == set(lines) == set(lab.exercises)
    right = namespace_of(lab)
    for name, line in lines.items():
        assert is_graded_line(line) and is_graded_line(line.splitlines()[0])
        note(name)  # its check has passed
        exec(line, right)
        with pytest.raises(CheckFailed, match=f"^{name} is not solved yet: .* is not defined.$"):
            exec(line, {k: v for k, v in right.items() if f"'{k}'" not in line})
        blank = dict(right)
        exec(compile(stubs[name], "<stub>", "exec"), blank)
        with pytest.raises(CheckFailed, match=f"^{name} is not solved yet: it still raises"):
            exec(line, blank)


FORMS = {
    "a stub": ("def scale(x):\n    raise NotImplementedError", False),
    "solved, the stub's last line left behind": (
        "def scale(x):\n    return x\n    raise NotImplementedError",
        True,
    ),
    "an own error": ("def scale(x):\n    raise NotImplementedError('only for 2D')", True),
    "a class with one method left": (
        "class scale:\n    def one(self):\n        return 1\n"
        "    @property\n    def two(self):\n        raise NotImplementedError",
        False,
    ),
    "a class": ("class scale:\n    def one(self):\n        return 1", True),
    "inside a helper": (
        "def scale(x):\n    def half(y):\n        raise NotImplementedError\n    return half(x)",
        False,
    ),
    "a decorated stub": (
        "import torch\n@torch.no_grad()\ndef scale(x):\n    raise NotImplementedError",
        False,
    ),
    "a partial": ("import functools\nscale = functools.partial(max, 2)", True),
    "nothing": ("", False),
    "a name that is deleted": ("def scale(x):\n    return x\ndel scale", False),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_counts_as_solved(form):
    code, good = FORMS[form]
    note("scale")
    names: dict = {}
    exec(code, names)
    if good:
        exec(FAILS, names)
        return
    with pytest.raises(CheckFailed) as caught:
        exec(FAILS, names)
    assert str(caught.value).startswith("scale is not solved yet") and "\n" not in str(caught.value)


def scale(x, factor):
    return x + factor


def test_a_wrong_answer_is_no_success_until_its_check_passes():
    with pytest.raises(CheckFailed), Check("scale") as check:
        check.that(scale(torch.ones(2), 3).tolist() == [3, 3], "the values are wrong")
    with pytest.raises(CheckFailed, match="^scale: its check above has not passed yet .the values"):
        solved("scale", "scale")
    with Check("scale") as check:
        check.that(True, "")
    solved("scale", "scale")


def test_a_check_that_was_not_run_is_no_success():
    with pytest.raises(CheckFailed, match="^scale2: its check above has not passed yet .run it f"):
        exec(ASSERTION.format("'scale2', 'scale'"), {"scale": scale})


def test_nothing_in_the_place_of_the_stubs_is_no_success_either(mini, tmp_path):
    """The small lab's checks are plain asserts."""
    nothing = {"scale": "def scale(x, factor):\n    pass", "twice": "def twice(x):\n    return x"}
    said = validated(solve(student_notebook(mini), mini, nothing), tmp_path)
    assert "Success" not in said and "VALIDATION FAILED ON 2 CELL(S)" in said
    assert "twice: its check above has not passed yet (run it first)." in said


def test_it_needs_no_nbgrader_and_names_no_answer(mini):
    notebook = student_notebook(mini)
    lines = [c.source for c in notebook.cells if FAILS.split("(")[0] in c.source]
    assert len(lines) == 2 and all(len(line.splitlines()) == 2 for line in lines)
    code = "import sys; import labsupport.notebook.solved; print('nbgrader' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False"
