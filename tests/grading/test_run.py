"""Execution: a notebook goes in, the same cells come out, whatever the code in them does."""

import asyncio
import gc
import os
import shutil
import time

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill.engines import NotebookExecutionManager

from labsupport.grading.running.engine import LimitedClient, RunLimits
from labsupport.grading.running.run import INJECTED, MAX_DEATHS, execute
from labsupport.grading.running.sandbox.warm import WarmProcess, WarmSandbox, can_fork_kernels

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)


needs_linux = pytest.mark.skipif(not can_fork_kernels(), reason="no warm kernels on this system")


@pytest.fixture(
    scope="module",
    params=[
        "local",
        pytest.param("free", marks=needs_linux),
        pytest.param("sandbox", marks=needs_bubblewrap),
    ],
)
def kernels(request):
    if request.param == "local":
        yield None
    elif request.param == "free":
        with WarmProcess() as process:
            yield process
    else:
        with WarmSandbox(["models/vit.py"]) as sandbox:
            yield sandbox


def run(kernels, *sources, parameters=None, **limits):
    cells = [new_code_cell(s) for s in sources]
    return execute(new_notebook(cells=cells), parameters, RunLimits(**limits), kernels)


def text(cell):
    return "".join(o.get("text", "") for o in cell.outputs)


def test_parameters_errors_timeouts_and_stderr(kernels):
    tagged = new_code_cell("N = 1", metadata={"tags": ["parameters"]})
    stale = new_code_cell("N = 7", metadata={"tags": [INJECTED]})
    notebook = new_notebook(
        cells=[
            new_markdown_cell("prose"),
            tagged,
            stale,
            new_code_cell("print(N)"),
            new_code_cell("1 / 0"),
            new_code_cell("import sys; print('noise', file=sys.stderr)"),
            new_code_cell("while True: pass"),
            new_code_cell("print('after')"),
        ]
    )
    done = execute(notebook, {"N": 5}, RunLimits(cell_seconds=2), kernels)
    cells = done.notebook.cells
    assert [c.id for c in cells] == [c.id for c in notebook.cells]
    assert text(cells[3]) == "7\n"  # the student's own later cell wins over the tagged one
    assert cells[4].outputs[0].ename == "ZeroDivisionError"
    assert done.timeouts == [6] and text(cells[7]) == "after\n" and not done.deaths
    assert all("papermill" not in c.metadata for c in cells)


def test_figures_are_outputs(kernels):
    done = run(kernels, "import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    assert any("image/png" in o.get("data", {}) for o in done.notebook.cells[0].outputs)


def test_after_a_death_the_rest_runs_without_the_cell_that_caused_it(kernels):
    done = run(
        kernels,
        "x = 1; print('before')",
        "import os; os._exit(3)",
        "print('after', x)",
        parameters={"N": 1},
    )
    assert list(done.deaths) == [1] and done.reached == 3
    assert text(done.notebook.cells[0]) == "before\n"
    assert text(done.notebook.cells[2]) == "after 1\n"


def test_a_notebook_that_keeps_dying_is_given_up(kernels):
    done = run(kernels, *["import os; os._exit(3)"] * (MAX_DEATHS + 2))
    assert list(done.deaths) == list(range(MAX_DEATHS)) and done.reached == MAX_DEATHS


def test_a_loop_that_refuses_to_be_interrupted_is_ended_once(kernels):
    stubborn = (
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    )
    begin = time.monotonic()
    done = run(kernels, stubborn, "print('after')", cell_seconds=2)
    assert "could not be interrupted" in done.deaths[0].reason
    assert text(done.notebook.cells[1]) == "after\n"
    assert time.monotonic() - begin < 60  # a watchdog's bound, not a speed


def test_floods_of_output_and_slow_notebooks_are_ended(kernels):
    done = run(kernels, "while True: print('x' * 10000)", "print('after')", output_mb=1)
    assert "printed more than 1 MB" in done.deaths[0].reason
    assert sum(len(o.get("text", "")) for o in done.notebook.cells[0].outputs) < 3_000_000
    done = run(kernels, "import time; time.sleep(60)", notebook_seconds=3)
    assert "took more than 3 s" in done.deaths[0].reason


def test_memory_is_limited_over_all_processes(kernels):
    hoard = (
        "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n"
        "        block = bytearray(200_000_000); time.sleep(60)\ntime.sleep(60)"
    )
    done = run(kernels, hoard, "print('after')", memory_mb=700)
    assert "used more than 700 MB" in done.deaths[0].reason
    assert text(done.notebook.cells[1]) == "after\n"


def test_it_runs_in_a_scratch_directory_that_goes_away(kernels):
    done = run(kernels, "import os; open('left.txt', 'w').close(); print(os.getcwd())")
    place = text(done.notebook.cells[0]).strip()
    assert place != os.getcwd() and not os.path.exists(place)


@pytest.mark.parametrize("sources", [(), ("",)])
def test_an_empty_notebook_runs(kernels, sources):
    assert not run(kernels, *sources).deaths


@pytest.mark.parametrize("watch", ["_async_poll_kernel_alive", "_async_poll_output_msg"])
def test_an_error_that_nobody_asks_for_is_not_logged_later(watch, caplog):
    """Its traceback would be formatted whenever Python collects the task."""
    # without a kernel both watches fail
    client = LimitedClient(NotebookExecutionManager(new_notebook()))
    arguments = () if watch == "_async_poll_kernel_alive" else ("id", {}, 0)

    async def forget():
        task = asyncio.ensure_future(getattr(client, watch)(*arguments))
        await asyncio.wait([task])
        assert task.done() and not task.cancelled()

    asyncio.run(forget())
    gc.collect()
    assert "never retrieved" not in caplog.text
