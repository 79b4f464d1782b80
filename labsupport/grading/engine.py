"""A papermill engine for untrusted notebooks: quiet, limited, in whatever kernel it is given."""

import asyncio
import contextlib
import signal
import subprocess
import threading
import time
from dataclasses import dataclass

import psutil
from jupyter_client.manager import AsyncKernelManager
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from traitlets import Any as Anything

TIMEOUT = "CellTimeoutError"
MIB = 1024 * 1024


@dataclass
class RunLimits:
    """What one notebook may use while it runs."""

    cell_seconds: float = 60
    notebook_seconds: float = 600
    output_mb: float = 20
    memory_mb: float = 4000  # of all its processes together


class LimitedClient(PapermillNotebookClient):
    """Executes a notebook and ends its kernel where a limit is passed.

    ``current`` is the cell it is at; ``ended`` says which limit was passed, in cell ``ended_at``.
    """

    limits = Anything()
    current = 0
    ended = ""
    ended_at: int | None = None
    _written = 0

    def execute_cell(self, cell, cell_index, *args, **kwargs):
        self.current = cell_index
        return super().execute_cell(cell, cell_index, *args, **kwargs)

    def process_message(self, msg, cell, cell_index):
        self._written += _size(msg["content"])
        if self._written > self.limits.output_mb * MIB:
            self.end(f"it printed more than {self.limits.output_mb:g} MB")
            return None
        return super().process_message(msg, cell, cell_index)

    async def _async_handle_timeout(self, timeout, cell=None):
        """Interrupt the cell; a kernel that does not come back from that is ended at once, for
        every cell after this one would wait its whole time too."""
        reply = await super()._async_handle_timeout(timeout, cell)
        if not await self._answers(seconds=5):
            self.end("it could not be interrupted after its time was up")
        return reply

    async def _answers(self, seconds: float) -> bool:
        asked = self.kc.kernel_info()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(Exception):  # Empty: nothing has come yet
                message = await self.kc.get_shell_msg(timeout=0.2)
                if message["parent_header"].get("msg_id") == asked:
                    return True
        return False

    def end(self, reason: str) -> None:
        if not self.ended:
            self.ended, self.ended_at = reason, self.current
        end_kernel(self.km)


def end_kernel(manager: AsyncKernelManager) -> None:
    """Kill a kernel now, from any thread, whatever it is doing."""
    process = kernel_process(manager)
    if process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)
        process.send_signal(signal.SIGKILL)


def kernel_process(manager: AsyncKernelManager) -> psutil.Process | None:
    provisioner = manager.provisioner if manager else None
    holder = getattr(provisioner, "kernel", None) or getattr(provisioner, "process", None)
    try:
        return psutil.Process(holder.pid) if holder is not None else None
    except psutil.NoSuchProcess:
        return None


class Watch:
    """Ends a client's kernel when the notebook takes too long or too much memory."""

    def __init__(self, client: LimitedClient):
        self._client = client
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        limits, begin = self._client.limits, time.monotonic()
        while not self._over.wait(0.25):
            if time.monotonic() - begin > limits.notebook_seconds:
                self._client.end(f"the notebook took more than {limits.notebook_seconds:g} s")
            elif (used := _memory(kernel_process(self._client.km))) > limits.memory_mb * MIB:
                self._client.end(f"it used more than {limits.memory_mb:g} MB ({used / MIB:.0f})")


class LimitedEngine(Engine):
    """``limits`` is a RunLimits; ``manager`` a kernel manager, or None for a plain local kernel;
    ``report(client)`` is called at the end, whatever happened."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, limits, manager, report, **options):
        options.pop("log_output", None)
        client = LimitedClient(
            nb_man,
            km=manager,
            kernel_name=kernel_name,
            limits=limits,
            timeout=limits.cell_seconds,
            interrupt_on_timeout=True,
            error_on_timeout=_timeout_error(limits.cell_seconds),
            shutdown_kernel="immediate",
            **options,
        )
        try:
            with Watch(client):
                return client.execute(
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cleanup_kc=True
                )
        finally:
            report(client)
            if manager is not None and manager.has_kernel:
                asyncio.run(manager.shutdown_kernel(now=True))


papermill_engines.register("labs", LimitedEngine)


def _memory(process: psutil.Process | None) -> float:
    """Bytes that a process and its children hold for themselves, in what they share as well."""
    total = 0.0
    if process is None:
        return total
    with contextlib.suppress(psutil.Error):
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory = one.memory_info()
                total += memory.rss - memory.shared
    return total


def _size(content: dict) -> int:
    data = content.get("data")
    parts = data.values() if isinstance(data, dict) else [content.get("text", "")]
    return sum(len(p) if isinstance(p, str) else len(str(p)) for p in parts) + 64


def _timeout_error(seconds: float) -> dict:
    return {
        "ename": TIMEOUT,
        "evalue": f"stopped after {seconds:g} s",
        "traceback": [f"{TIMEOUT}: this cell was stopped after {seconds:g} s"],
    }
