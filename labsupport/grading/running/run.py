"""Execution of a notebook of untrusted code, up to its outputs. Knows nothing of gradebooks.

Execution is papermill's, in a kernel of its own: a fork of a warm process, sandboxed or not, or a
plain local process. A cell that fails, or takes too long, does not stop the ones after it; where
the kernel dies, the cells after that run in a fresh one, without the cell in which it died.
"""

import copy
import logging
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.notebooknode import NotebookNode
from papermill.engines import papermill_engines
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from traitlets.config import Config

from labsupport.errors import SandboxError
from labsupport.grading.running.engine import LimitedClient
from labsupport.grading.running.limits import Death, RunLimits
from labsupport.grading.running.scratch import scratch

if TYPE_CHECKING:
    from labsupport.grading.running.sandbox.asking import KernelSource

INJECTED = "injected-parameters"
_OURS = (SandboxError, OSError, psutil.Error, MemoryError)
_SILENT = CellTimeoutError  # nbclient's word for outputs that have no end; it is an OSError too
# Kernels a notebook may lose before the rest of it is given up. One exercise that kills its kernel
# does so in its check and in each part that is graded.
MAX_DEATHS = 6
DIED = Death("died", "the kernel died")


@dataclass
class Execution:
    """An executed notebook: same cells, same order as the one that went in.

    ``deaths`` says why the kernel died, by the index of the cell in which it did; ``timeouts``
    are the cells that were stopped; ``reached`` is how many cells were run, or passed over, in
    all. ``seconds`` includes the kernels' start.
    """

    notebook: NotebookNode
    seconds: float = 0.0
    deaths: dict[int, Death] = field(default_factory=dict)
    timeouts: list[int] = field(default_factory=list)
    reached: int = 0

    @property
    def stopped(self) -> list[int]:
        """The cells whose time was up, whether the kernel came back from that or not."""
        ended = [place for place, death in self.deaths.items() if death.kind == "time"]
        return sorted({*self.timeouts, *ended})


def execute(
    notebook: NotebookNode,
    parameters: dict | None = None,
    limits: RunLimits | None = None,
    sandbox: "KernelSource | None" = None,
) -> Execution:
    """Run every cell with papermill; ``parameters`` override those of the parameters cell.

    Kernels come from ``sandbox``, which may be a warm process without walls; without one each is a
    plain process, which takes seconds to start. Without walls the code runs with this process's
    rights. Errors of the notebook's code are outputs, not exceptions.
    """
    limits = limits or RunLimits()
    begin = time.monotonic()
    used = 0.0  # of the notebook's time, as kernels are charged
    result = Execution(copy.deepcopy(notebook))
    todo = copy.deepcopy(notebook)
    done = 0  # cells whose outputs are settled
    spare = 1  # something outside may have killed a kernel (want of memory, say): look once more
    for _ in range(MAX_DEATHS):
        for again in (False, True):
            # each kernel has time for one more cell, so that a slow one costs its exercise only
            left = max(limits.notebook_seconds - used, limits.cell_seconds)
            seconds = min(left, limits.notebook_seconds)
            try:
                life = _run(todo, parameters or {}, limits, seconds, sandbox)
            except RuntimeError as error:
                if again or isinstance(error, SandboxError):
                    raise
                continue  # a kernel that died before it had begun
            if life.killed and again:
                raise SandboxError("a kernel was killed from outside: is there memory left?")
            if life.died is None or life.death != DIED or again:
                break
            if not life.killed and not spare:
                break
            spare -= not life.killed
        used += life.seconds
        died = life.died
        until = len(notebook.cells) if died is None else died + 1
        for index in range(done, until):
            if life.notebook.cells[index].cell_type == "code":
                result.notebook.cells[index].outputs = life.notebook.cells[index].outputs
        result.timeouts += [i for i in life.overdue if done <= i < until]
        done = result.reached = max(until, done)
        if died is None:
            break
        result.deaths[died] = life.death
        todo.cells[died].source = ""  # the next kernel passes over it
        if not _code_after(notebook, died):
            break
    result.seconds = time.monotonic() - begin
    return result


@dataclass
class _Life:
    """One kernel's life: the executed notebook, where and why the kernel died, if it did, the
    cells that took too long, and the seconds it is charged for. ``killed``: it died by itself,
    and not by anything that runs in it."""

    notebook: NotebookNode
    died: int | None
    death: Death
    overdue: list[int]
    seconds: float
    killed: bool


def _run(notebook, parameters, limits, seconds, sandbox) -> _Life:
    prepared = _parameterised(notebook, parameters)
    clients: list[LimitedClient] = []
    died = None
    with tempfile.TemporaryDirectory(prefix="run-", dir=scratch()) as folder:
        workdir, about = Path(folder) / "work", Path(folder) / "connection.json"
        workdir.mkdir()
        manager = None
        if sandbox:
            # here, for Windows has none, and a student's own check needs none
            from labsupport.grading.running.sandbox.provisioner import SandboxKernelManager

            manager = SandboxKernelManager(sandbox, connection_file=str(about))
        try:
            papermill_engines.execute_notebook_with_engine(
                "labs",
                prepared,
                kernel_name="python3",
                progress_bar=False,
                limits=limits,
                seconds=seconds,
                manager=manager,
                report=clients.append,
                allow_errors=True,
                resources={"metadata": {"path": str(workdir)}},
                config=_sockets(Path(folder) / "kernel", about),
                on_cell_executed=_record_reply_error,
            )
        except Exception as error:
            client = clients[0] if clients else None
            ours = isinstance(error, _OURS) and not isinstance(error, _SILENT)
            if ours or client is None or client.current is None:
                raise  # not the notebook's doing
            if isinstance(error, _SILENT):
                client.end(Death("output", "an output of it did not arrive: too large, or cut off"))
            elif not isinstance(error, DeadKernelError):
                client.end(Death("message", "it sent the grader a message that cannot be read"))
            # a kernel that was ended after its cell's time is noticed in the next cell only
            died = client.current if client.ended_at is None else client.ended_at
    (client,) = clients
    executed, injected = _without_injected(prepared)
    overdue = list(client.overdue)
    if injected is not None:
        died = died - 1 if died is not None and died > injected else died
        overdue = [i - (i > injected) for i in overdue]
    killed = client.ended is None and manager is not None and manager.killed
    charged = client.watch.clock.seconds
    return _Life(executed, died, client.ended or DIED, overdue, charged, killed)


def _code_after(notebook: NotebookNode, index: int) -> bool:
    return any(c.cell_type == "code" and c.source for c in notebook.cells[index + 1 :])


def _sockets(place: Path, about: Path) -> Config:
    """Speak to the kernel through sockets in a private folder: no ports to clash when kernels
    start side by side, and nothing on the network. ``about``: the file that says so."""
    config = Config()
    config.KernelManager.connection_file = str(about)
    if os.name == "nt":  # it has no such sockets
        return config
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
        prepared = parameterize_notebook(
            prepared, parameters, kernel_name="python3", language="python"
        )
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


def _record_reply_error(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
    """Put an error that came as a reply only (a timeout) among the cell's outputs."""
    content = execute_reply["content"]
    if content.get("status") != "error" or not isinstance(content.get("traceback"), list):
        return
    error = {k: str(content.get(k)) for k in ("ename", "evalue")}
    if not any(o.get("ename") == error["ename"] for o in cell.outputs):
        trace = [str(line)[:10_000] for line in content["traceback"][-100:]]
        cell.outputs.append(NotebookNode(output_type="error", traceback=trace, **error))
