"""Limits on a running notebook, and the watch that ends a kernel which passes one."""

import contextlib
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from jupyter_client.manager import AsyncKernelManager

MIB = 1024 * 1024
# MiB of one message; a larger one is dropped before it takes our memory: JSON can be written so
# that reading it takes twenty times its size.
MESSAGE_MB = 8


@dataclass
class RunLimits:
    """What one notebook may use while it runs."""

    cell_seconds: float = 60
    notebook_seconds: float = 600
    output_mb: float = 20
    outputs: int = 10_000  # messages, among them the start and the end of each cell
    memory_mb: float = 4000  # of all its processes together
    tasks: int = 200  # processes and threads together


@dataclass(frozen=True)
class Death:
    """Why a kernel died: ``kind`` for programs, ``reason`` for people. "died": by itself, and no
    limit of ours ended it."""

    kind: Literal["memory", "time", "tasks", "output", "message", "died"]
    reason: str


def end_kernel(manager: AsyncKernelManager) -> None:
    """Kill a kernel now, from any thread, whatever it is doing."""
    process = kernel_process(manager)
    if process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        children = process.children(recursive=True)
        # in a sandbox it is the first of its process namespace: all others go with it
        process.send_signal(signal.SIGKILL)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)


def kernel_process(manager: AsyncKernelManager) -> psutil.Process | None:
    provisioner = manager.provisioner if manager else None
    holder = getattr(provisioner, "kernel", None) or getattr(provisioner, "process", None)
    try:
        return psutil.Process(holder.pid) if holder is not None else None
    except psutil.NoSuchProcess:
        return None


class Watch:
    """Ends a client's kernel when the notebook takes too long, too much memory, too many tasks.

    ``client`` has ``limits``, its kernel manager ``km``, and ``end(death)``; ``seconds`` are
    what is left of the notebook's time.
    """

    def __init__(self, client: Any, seconds: float):
        self._client = client
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        limits, begin, lost = self._client.limits, time.monotonic(), False
        kernel: Any = None  # its client, once there is one
        while not self._over.wait(0.25):
            process = kernel_process(self._client.km)
            passed = passed_limit(process, limits)
            if lost and process is not None and process.is_running():
                most = min(limits.output_mb, MESSAGE_MB)
                self._client.end(Death("output", f"it printed more than {most:g} MB"))
            kernel = kernel or self._client.kc
            if hasattr(kernel, "lost_outputs"):
                lost = kernel.lost_outputs()  # one that has just died is gone next time
            if time.monotonic() - begin > self._seconds:
                most = limits.notebook_seconds
                self._client.end(Death("time", f"the notebook took more than {most:g} s"))
            elif passed:
                self._client.end(passed)
        if hasattr(kernel, "events"):
            kernel.events.close()


def passed_limit(process: psutil.Process | None, limits: RunLimits) -> Death | None:
    """Which limit the process and its children pass at this moment, if they do."""
    memory, tasks = usage(process, limits)
    if memory > limits.memory_mb * MIB:
        used = f"it used more than {limits.memory_mb:g} MB ({memory / MIB:.0f})"
        return Death("memory", used)
    if tasks > limits.tasks:
        return Death("tasks", f"it started more than {limits.tasks} processes and threads")
    return None


def usage(process: psutil.Process | None, limits: RunLimits) -> tuple[int, int]:
    """(bytes, tasks) that a process and its children use.

    Memory is what they hold for themselves and what they share by mappings without a file;
    libraries do not count. A process that has very many children is not looked at further.
    """
    if process is None:
        return 0, 0
    with contextlib.suppress(psutil.Error):
        children = process.children(recursive=True)
        pids = [process.pid, *(child.pid for child in children[: limits.tasks])]
        found = [_status(pid) for pid in pids]
        memory = sum(held for held, _ in found)
        if memory > limits.memory_mb * MIB:
            # pages that a fork shares with its parent have been counted in both: look closer
            memory = sum(map(_proportional, pids))
        return memory, max(len(children), sum(threads for _, threads in found))
    return 0, 0


def _status(pid: int) -> tuple[int, int]:
    found = _fields(f"/proc/{pid}/status", ("RssAnon", "RssShmem", "Threads"))
    return (found.get("RssAnon", 0) + found.get("RssShmem", 0)) * 1024, found.get("Threads", 0)


def _proportional(pid: int) -> int:
    found = _fields(f"/proc/{pid}/smaps_rollup", ("Pss_Anon", "Pss_Shmem"))
    # where it cannot be read, all that it holds now: nothing, if it has just ended
    return sum(found.values()) * 1024 if found else _status(pid)[0]


def _fields(path: str, names: tuple[str, ...]) -> dict[str, int]:
    """Numbers from a file of lines "Name: number"; none where it cannot be read."""
    found = {}
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            name, _, value = line.partition(":")
            if name in names:
                found[name] = int(value.split()[0])
    return found
