"""A papermill engine for untrusted notebooks: quiet, limited, in whatever kernel it is given."""

import asyncio
import os
import subprocess

from nbclient.exceptions import CellExecutionComplete, DeadKernelError
from nbformat.notebooknode import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from traitlets import Any as Anything

from labsupport.answers.respond import MIME
from labsupport.grading.running.kernels import end_kernel, interrupt_kernel, kernel_process
from labsupport.grading.running.limits import (
    LEAST_FAR_SECONDS,
    MIB,
    Death,
    RunLimits,
    Watch,
    passed_limit,
)
from labsupport.grading.running.sandbox.visible import UNCOMPILED

__all__ = ["TIMEOUT", "LimitedClient", "LimitedEngine", "RunLimits"]

TIMEOUT = "CellTimeoutError"
GRACE_SECONDS = 5  # for a cell to end after it has been interrupted
OUTPUTS_SECONDS = 6  # for a cell's last outputs to come after its reply


class LimitedClient(PapermillNotebookClient):
    """Executes a notebook and ends its kernel where a limit is passed.

    ``current`` is the cell it is at, None before the first; ``ended`` says which limit was
    passed, None while there was none, in cell ``ended_at``. What a kernel sends is a student's to
    write: any message may be forged, malformed or endless, and so all of them count, whatever they
    claim to belong to.

    Time is the watch's to count, on a clock that load does not move; nbclient's own limits are
    wall time, and are off.
    """

    limits = Anything()
    watch: Watch
    current: int | None = None
    ended: Death | None = None
    ended_at: int | None = None
    overdue: tuple[int, ...] = ()  # the cells that were stopped because their time was up
    _written = 0
    _messages = 0

    def execute_cell(self, cell, cell_index, *args, **kwargs):
        self.watch.check()
        self.current = cell_index
        self.watch.expect(self.limits.cell_seconds, self._interrupt)
        executed = super().execute_cell(cell, cell_index, *args, **kwargs)
        # what comes next is ours to do, or a kernel's answer to a simple question
        self.watch.expect(self.limits.cell_seconds, self._end_silent)
        if cell_index in self.overdue:
            executed.outputs.append(_timeout_error(self.limits.cell_seconds))
        # What a cell leaves behind is its own doing: the watch, which looks four times a second,
        # would see it in the next cell only, and blame that one.
        if cell.cell_type == "code" and (
            passed := passed_limit(kernel_process(self.km), self.limits)
        ):
            self.end(passed)
        return executed

    def start_new_kernel_client(self):
        client = super().start_new_kernel_client()
        read = client.session.deserialize

        def count_and_read(frames, *args, **kwargs):
            self._count(sum(map(len, frames)))
            if self.ended:
                # what is left in the pipe is not worth reading
                raise RuntimeError(self.ended.reason)
            message = read(frames, *args, **kwargs)
            if message.get("msg_type") == "execute_reply":
                self.watch.expect(OUTPUTS_SECONDS, self._end_unfinished)
            return message

        client.session.deserialize = count_and_read
        return client

    def process_message(self, msg, cell, cell_index):
        if self.ended:
            return None  # what is left in the pipe
        try:
            content, kind = msg["content"], msg["msg_type"]
            if kind.startswith("comm"):
                return None  # widgets need a person; their state is not kept
            data = content.get("data")
            if isinstance(data, dict) and MIME in data:
                if kind != "display_data":
                    return None
                # without its display id no later cell can put another response in its place
                content["transient"] = {}
            self._count_places(content)
            return None if self.ended else super().process_message(msg, cell, cell_index)
        except CellExecutionComplete:
            raise
        except Exception:
            self.end(Death("message", "it sent the grader a malformed message"))
            return None

    def _count_places(self, content: dict) -> None:
        """A display that stands in many places costs as many outputs when it changes."""
        name = (content.get("transient") or {}).get("display_id")
        places = self._display_id_map.get(name, {}) if name else {}
        self._count(0, messages=sum(map(len, places.values())))

    def _count(self, size: int, messages: int = 1) -> None:
        self._written += size
        self._messages += messages
        if self._written > self.limits.output_mb * MIB:
            self.end(Death("output", f"it printed more than {self.limits.output_mb:g} MB"))
        elif self._messages > self.limits.outputs:
            self.end(Death("output", f"it sent more than {self.limits.outputs:,} outputs"))

    async def _async_check_alive(self):
        if self.watch.failed():  # what nbclient waits for ends by this error only
            raise DeadKernelError("it is not watched any more")
        await super()._async_check_alive()

    async def _async_poll_kernel_alive(self):
        _take_error()
        return await super()._async_poll_kernel_alive()

    async def _async_poll_output_msg(self, *args):
        _take_error()
        return await super()._async_poll_output_msg(*args)

    def _interrupt(self) -> None:
        """Stop a cell whose time is up; a kernel that does not come back from that is ended, for
        every cell after this one would wait its whole time too."""
        if self.current is not None:
            self.overdue += (self.current,)
        self.watch.expect(GRACE_SECONDS, self._end_stubborn)
        interrupt_kernel(self.km)

    def _end_stubborn(self) -> None:
        self.end(Death("time", "it could not be interrupted after its time was up"))

    def _end_silent(self) -> None:
        self.end(Death("time", "the kernel did not answer any more"))

    def _end_unfinished(self) -> None:
        """A cell whose outputs have no end has lost some: they were too large, or another process
        of the kernel's holds the socket. What comes after needs a kernel that speaks."""
        self.end(Death("output", "an output of it did not arrive: too large, or cut off"))

    def end(self, death: Death) -> None:
        if not self.ended:
            self.ended, self.ended_at = death, self.current
            self.iopub_timeout = 0  # nothing more will come
        end_kernel(self.km)


class LimitedEngine(Engine):
    """``limits`` is a RunLimits, ``seconds`` what is left of the notebook's time; ``manager`` a
    kernel manager, or None for a plain local kernel; ``report(client)`` is called at the end,
    whatever happened."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man, kernel_name, *, limits, seconds, manager, report, **options
    ):
        options.pop("log_output", None)
        client = LimitedClient(
            nb_man,
            km=manager,
            kernel_name=kernel_name,
            limits=limits,
            timeout=None,
            raise_on_iopub_timeout=True,
            iopub_timeout=LEAST_FAR_SECONDS,
            startup_timeout=LEAST_FAR_SECONDS,
            shutdown_kernel="immediate",
            **options,
        )
        client.watch = Watch(client, seconds)
        try:
            with client.watch:
                return client.execute(
                    env=os.environ | UNCOMPILED,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cleanup_kc=True,
                )
        finally:
            report(client)
            if manager is not None and manager.has_kernel:
                asyncio.run(manager.shutdown_kernel(now=True))


papermill_engines.register("labs", LimitedEngine)


def _take_error() -> None:
    """Ask the task that runs for its error when it is done.

    nbclient does not ask these two where a reply cannot be read. asyncio then logs the error when
    Python collects the task, which may be in the middle of anything: in the middle of `ast.parse`
    the log's traceback, which is parsed too, breaks Python 3.11's parser ("AST constructor
    recursion depth mismatch").
    """
    if (current := asyncio.current_task()) is not None:
        current.add_done_callback(lambda task: task.cancelled() or task.exception())


def _timeout_error(seconds: float) -> NotebookNode:
    said = f"stopped after {seconds:g} s"
    trace = [f"{TIMEOUT}: this cell was {said}"]
    return NotebookNode(output_type="error", ename=TIMEOUT, evalue=said, traceback=trace)
