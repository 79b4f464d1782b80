"""Execute a notebook of untrusted code and bring back its outputs. Knows nothing of gradebooks.

Execution is papermill's, in a kernel of its own in a scratch directory. A cell that fails, or
takes too long, does not stop the ones after it; a kernel that dies does.
"""

import copy
import logging
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from nbclient.exceptions import DeadKernelError
from nbformat.notebooknode import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from traitlets.config import Config

INJECTED = "injected-parameters"
TIMEOUT = "CellTimeoutError"


class QuietEngine(Engine):
    """papermill's nbclient engine, with what a kernel writes past its notebook thrown away."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **options):
        options.pop("log_output", None)
        client = PapermillNotebookClient(nb_man, kernel_name=kernel_name, **options)
        return client.execute(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


papermill_engines.register("labs", QuietEngine)


@dataclass
class Execution:
    """An executed notebook: same cells, same order as the one that went in.

    ``died`` is the index of the cell in which the kernel died, or None; ``seconds`` includes the
    kernel's start.
    """

    notebook: NotebookNode
    seconds: float
    died: int | None = None
    timeouts: list[int] = field(default_factory=list)


def execute(
    notebook: NotebookNode,
    parameters: dict | None = None,
    cell_timeout: int = 60,
    kernel_name: str = "python3",
) -> Execution:
    """Run every cell with papermill; ``parameters`` override those of the parameters cell.

    ``cell_timeout`` is in seconds. Errors of the notebook's code are outputs, not exceptions.
    """
    prepared = _parameterised(notebook, parameters or {})
    started = [0]
    begin = time.monotonic()
    died = None
    with tempfile.TemporaryDirectory(prefix="labs-run-") as scratch:
        workdir = Path(scratch) / "work"
        workdir.mkdir()
        try:
            papermill_engines.execute_notebook_with_engine(
                "labs",
                prepared,
                kernel_name=kernel_name,
                config=_sockets(Path(scratch) / "kernel"),
                progress_bar=False,
                allow_errors=True,
                resources={"metadata": {"path": str(workdir)}},
                timeout=cell_timeout,
                interrupt_on_timeout=True,
                error_on_timeout=_timeout_error(cell_timeout),
                raise_on_iopub_timeout=False,
                on_cell_start=lambda cell, cell_index: started.append(cell_index),
                on_cell_executed=_record_reply_error,
            )
        except DeadKernelError:
            died = started[-1]
    executed, shift = _without_injected(prepared)
    if died is not None and shift is not None and died > shift:
        died -= 1
    timeouts = [
        i
        for i, cell in enumerate(executed.cells)
        if any(o.get("ename") == TIMEOUT for o in cell.get("outputs", []))
    ]
    return Execution(executed, time.monotonic() - begin, died, timeouts)


def _sockets(place: Path) -> Config:
    """Speak to the kernel through sockets in a private folder: no ports to clash when kernels
    start side by side, and nothing on the network."""
    config = Config()
    config.KernelManager.transport = "ipc"
    config.KernelManager.ip = str(place)
    return config


def _parameterised(notebook: NotebookNode, parameters: dict) -> NotebookNode:
    prepared = copy.deepcopy(notebook)
    for cell in prepared.cells:
        tags = cell.metadata.get("tags", [])
        if INJECTED in tags:  # left over from a run of the student's own
            cell.metadata["tags"] = [t for t in tags if t != INJECTED]
    prepared = load_notebook_node(prepared)  # gives every cell the metadata papermill expects
    if parameters:
        logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns where no cell is tagged
        prepared = parameterize_notebook(prepared, parameters, kernel_name="python3",
                                         language="python")
    return prepared


def _without_injected(notebook: NotebookNode) -> tuple[NotebookNode, int | None]:
    place = next(
        (i for i, c in enumerate(notebook.cells) if INJECTED in c.metadata.get("tags", [])), None
    )
    notebook.cells = [c for i, c in enumerate(notebook.cells) if i != place]
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
    notebook.metadata.pop("papermill", None)
    return notebook, place


def _timeout_error(seconds: int) -> dict:
    return {
        "ename": TIMEOUT,
        "evalue": f"stopped after {seconds} s",
        "traceback": [f"{TIMEOUT}: this cell was stopped after {seconds} s"],
    }


def _record_reply_error(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
    """Put an error that came as a reply only (a timeout) among the cell's outputs."""
    content = execute_reply["content"]
    if content["status"] != "error":
        return
    if not any(o.get("ename") == content["ename"] for o in cell.outputs):
        error = {k: content[k] for k in ("ename", "evalue", "traceback")}
        cell.outputs.append(NotebookNode(output_type="error", **error))
