"""The limits hang on methods that nbclient and jupyter_client call: each must still be called.

Most of these methods are private to the libraries. One that gets another name there would be called
no more, and a limit would be off without a word.
"""

import shutil
from collections import Counter

import pytest
from jupyter_client.asynchronous import AsyncKernelClient
from nbformat.v4 import new_code_cell, new_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine

from labsupport.grading.running.engine import LimitedClient, LimitedEngine
from labsupport.grading.running.limits import RunLimits
from labsupport.grading.running.run import execute
from labsupport.grading.running.sandbox.provisioner import SandboxKernelClient

# class -> the library's class whose methods it stands in for, and which of them
HOOKS = {
    LimitedEngine: (Engine, ["execute_managed_notebook"]),
    LimitedClient: (
        PapermillNotebookClient,
        [
            "execute_cell",
            "start_new_kernel_client",
            "process_message",
            "_async_poll_kernel_alive",
            "_async_poll_output_msg",
            "_async_check_alive",
        ],
    ),
    SandboxKernelClient: (AsyncKernelClient, ["connect_iopub", "stop_channels", "wait_for_ready"]),
}
# what the hooks use of the libraries' own
USED = {
    PapermillNotebookClient: ["_display_id_map", "iopub_timeout"],
    AsyncKernelClient: ["_handle_kernel_info_reply", "_iopub_channel", "kernel_info"],
}
CELLS = [
    "from IPython.display import display, update_display\ndisplay(1, display_id='place')",
    "update_display(2, display_id='place')",
    "import time\ntime.sleep(60)",
    "print('and on')",
]


@pytest.mark.parametrize("own", HOOKS, ids=lambda c: c.__name__)
def test_the_names_are_there(own):
    base, names = HOOKS[own]
    for name in names:
        assert name in vars(own) and hasattr(base, name), name
    # and none is left out of the list: what overrides something of a library's is a hook
    overrides = {
        n
        for n in vars(own)
        if callable(getattr(own, n)) and not n.startswith("__") and hasattr(base, n)
    }
    assert overrides == set(names)


@pytest.mark.parametrize("base", USED, ids=lambda c: c.__name__)
def test_what_hooks_use_is_there(base):
    for name in USED[base]:
        assert hasattr(base, name), name


def called_in_a_run(monkeypatch, sandbox):
    """How often each hook is called while a small notebook runs, one cell of it for too long."""
    calls = Counter()

    def counted(own, name):
        hook = vars(own)[name]
        inner = hook.__func__ if isinstance(hook, classmethod) else hook

        def count(*args, **kwargs):
            calls[name] += 1
            return inner(*args, **kwargs)

        monkeypatch.setattr(own, name, classmethod(count) if inner is not hook else count)

    for own, (_, names) in HOOKS.items():
        for name in names:
            counted(own, name)
    places = []
    note = LimitedClient._count_places

    def noted(client, content):
        places.append(client._display_id_map.get("place"))
        note(client, content)

    monkeypatch.setattr(LimitedClient, "_count_places", noted)
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS])
    done = execute(notebook, limits=RunLimits(cell_seconds=3), sandbox=sandbox)
    assert done.timeouts == [2] and done.notebook.cells[3].outputs[0].text == "and on\n"
    assert any(places)  # a display that is shown again is known by its name
    return calls


def test_every_hook_is_called(monkeypatch):
    calls = called_in_a_run(monkeypatch, None)
    names = [*HOOKS[LimitedEngine][1], *HOOKS[LimitedClient][1]]
    assert all(calls[name] for name in names), calls
    cells = len(CELLS)
    for name in ("execute_cell", "_async_poll_kernel_alive", "_async_poll_output_msg"):
        assert calls[name] >= cells, calls


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing")
def test_every_hook_is_called_in_the_sandbox(monkeypatch, sandbox):
    calls = called_in_a_run(monkeypatch, sandbox)
    assert all(calls[name] for _, names in HOOKS.values() for name in names), calls
