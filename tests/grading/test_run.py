"""Execution: a notebook goes in, the same cells come out, whatever the code in them does."""

import os

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labsupport.grading.run import INJECTED, execute


def run(*sources, parameters=None, timeout=30):
    cells = [new_code_cell(s) for s in sources]
    return execute(new_notebook(cells=cells), parameters, timeout)


def text(cell):
    return "".join(o.get("text", "") for o in cell.outputs)


def test_parameters_errors_timeouts_and_stderr():
    tagged = new_code_cell("N = 1", metadata={"tags": ["parameters"]})
    stale = new_code_cell("N = 7", metadata={"tags": [INJECTED]})
    notebook = new_notebook(cells=[
        new_markdown_cell("prose"), tagged, stale, new_code_cell("print(N)"),
        new_code_cell("1 / 0"), new_code_cell("import sys; print('noise', file=sys.stderr)"),
        new_code_cell("while True: pass"), new_code_cell("print('after')"),
    ])
    done = execute(notebook, {"N": 5}, cell_timeout=2)
    cells = done.notebook.cells
    assert [c.id for c in cells] == [c.id for c in notebook.cells]
    assert text(cells[3]) == "7\n"  # the student's own later cell wins over the tagged one
    assert cells[4].outputs[0].ename == "ZeroDivisionError"
    assert done.timeouts == [6] and text(cells[7]) == "after\n" and done.died is None
    assert all("papermill" not in c.metadata for c in cells)


def test_a_dead_kernel_is_reported_and_earlier_outputs_stay():
    done = run("print('before')", "import os; os._exit(3)", "print('after')",
               parameters={"N": 1})
    assert done.died == 1
    assert text(done.notebook.cells[0]) == "before\n" and not done.notebook.cells[2].outputs


def test_it_runs_in_a_scratch_directory_that_goes_away():
    done = run("import os; open('left.txt', 'w').close(); print(os.getcwd())")
    place = text(done.notebook.cells[0]).strip()
    assert place != os.getcwd() and not os.path.exists(place)


@pytest.mark.parametrize("sources", [(), ("",)])
def test_an_empty_notebook_runs(sources):
    assert run(*sources).died is None
