"""Notebooks out of a source: reproducible, valid, and without a line of the solution."""

import json

import nbformat

from labsupport.course.build import (
    CONTRACT_MARK,
    build_notebook,
    dump,
    source_notebook,
    student_notebook,
)
from labsupport.course.solve import refresh_prose, solved_notebook
from labsupport.course.source import read_lab


def test_rebuild_is_byte_identical(mini, mini_path, tmp_path):
    first = build_notebook(mini, tmp_path / "a").read_bytes()
    assert build_notebook(read_lab(mini_path), tmp_path / "b").read_bytes() == first


def test_student_notebook_is_valid_and_bare(mini):
    notebook = student_notebook(mini)
    nbformat.validate(notebook)
    text = dump(notebook)
    for secret in (
        "SOLUTION",
        "as_tensor(x) * factor",
        "rng",
        "stand_in",
        "Rubric",
        "squared",
        "einsum",
    ):
        assert secret not in text
    assert all(not c.get("outputs") for c in notebook.cells)
    ids = [c.id for c in notebook.cells]
    assert len(ids) == len(set(ids))


def test_exercise_cell_is_a_stub_that_keeps_the_steps(mini):
    cell = next(c for c in student_notebook(mini).cells if c.id == "exercise-scale")
    assert cell.source.splitlines() == [
        "def scale(x, factor):",
        '    """Return x times factor, same shape."""',
        "    # Step 1: multiply",
        "    # YOUR CODE HERE",
        "    raise NotImplementedError",
    ]
    assert cell.metadata.nbgrader.solution and not cell.metadata.nbgrader.grade


def test_what_is_locked_and_what_is_not(mini):
    cells = {c.id: c for c in student_notebook(mini).cells}
    assert cells["judge-scale"].metadata.editable is False
    assert cells["judge-scale"].metadata.nbgrader.points == 2
    assert cells["check-scale"].metadata.nbgrader.locked
    assert cells["after-top-1"].metadata.editable is False
    parameters = cells["after-top-2"]
    assert "parameters" in parameters.metadata.tags and "nbgrader" not in parameters.metadata
    assert cells["answer-why"].source == "Your answer here."
    assert cells["question-why"].source == "Why does scaling multiply?"


def test_solved_notebook_has_solutions_and_no_markers(mini):
    text = dump(solved_notebook(mini))
    assert "as_tensor(x) * factor" in text and "Rubric" in text
    assert "SOLUTION" not in text and "squared" not in text and "Graded here" not in text


def test_source_notebook_keeps_solutions_for_nbgrader(mini):
    assert "### BEGIN SOLUTION" in dump(source_notebook(mini))


def test_the_contract_is_folded_up_where_its_mark_stands(mini):
    mini.cells[0].source += f"\n\n{CONTRACT_MARK}"
    (cell, *others) = source_notebook(mini).cells
    assert CONTRACT_MARK not in cell.source and cell.source.count("<details>") == 1
    assert "float32 is always" in cell.source and cell.source.rstrip().endswith("</details>")
    assert not any("float32 is always" in c.source for c in others)


def test_a_check_is_folded_and_says_of_what_it_is(mini):
    for cell in student_notebook(mini).cells:
        if cell.metadata.get("labsupport", {}).get("kind") == "check":
            name = cell.metadata["labsupport"]["name"]
            assert cell.source.startswith(f"# @title Check of {name}\n")
            assert cell.metadata["jupyter"] == {"source_hidden": True}
            assert cell.metadata["cellView"] == "form"


def test_an_edit_of_prose_needs_no_run_and_one_of_code_does(mini_path, tmp_path):
    executed = tmp_path / "90_mini.ipynb"
    run = solved_notebook(read_lab(mini_path))
    first = next(cell for cell in run.cells if cell.cell_type == "code")
    first.outputs = [nbformat.v4.new_output("stream", text="as it was")]
    nbformat.write(run, executed)
    text = mini_path.read_text(encoding="utf-8")
    prose = next(line for line in text.splitlines() if line.startswith("# # "))
    edited = tmp_path / "90_mini.py"
    edited.write_text(text.replace(prose, f"{prose}, said otherwise", 1), encoding="utf-8")
    assert refresh_prose(read_lab(edited), executed)
    after = json.loads(executed.read_text())
    assert "said otherwise" in "".join(after["cells"][0]["source"])
    assert "as it was" in executed.read_text()
    edited.write_text(text.replace("import torch", "import torch, math", 1), encoding="utf-8")
    before = executed.read_bytes()
    assert not refresh_prose(read_lab(edited), executed)
    assert executed.read_bytes() == before
    assert not refresh_prose(read_lab(mini_path), tmp_path / "never run.ipynb")
