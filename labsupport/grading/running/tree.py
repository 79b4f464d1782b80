"""What a process and its children use at this moment, as far as /proc tells."""

import contextlib
import math
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from labsupport.errors import SandboxError

TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
CLOSER_SECONDS = 1.0  # for a closer look at what processes share
WANTS = "RD"  # states of a task that runs, could run, or waits for a disk


class UnseenError(SandboxError):
    """What a kernel uses cannot be seen, so no limit on it would hold."""


@dataclass(frozen=True)
class Use:
    """``memory`` in bytes; ``tasks`` are processes and threads together; ``processor`` are the
    seconds of processor time so far, those of children that have ended among them; ``wanted``:
    whether any task ran, waited for a processor, or waited for a disk."""

    memory: int = 0
    tasks: int = 0
    processor: float = 0.0
    wanted: bool = False


def use_of(
    process: psutil.Process | None, most_tasks: int = 1000, most_memory: float = math.inf
) -> Use | None:
    """What a process uses with its children; None where it is gone, or was never there.

    Memory is what they hold for themselves and what they share by mappings without a file;
    libraries do not count. A process that has very many children is not looked at further.
    Raises UnseenError where it is there and cannot be looked at.
    """
    if process is None:
        return None
    try:
        children = process.children(recursive=True)
        if len(children) > most_tasks:  # every look at each would give it time to make more
            return Use(tasks=len(children), wanted=True)
        pids = [process.pid, *(child.pid for child in children)]
        found = [_stat(pid) for pid in pids]
        if found[0] is not None and found[0].over:
            return None
        held = [_status(pid) for pid in pids]
        memory = sum(of for of, _ in held)
        if memory > most_memory:
            # pages that a fork shares with its parent have been counted in both: look closer
            closer = _CloserLook.at(pids)
            memory = int(most_memory) if closer is None else closer
    except psutil.NoSuchProcess as error:
        if _is_there(process):
            raise UnseenError(f"what a kernel uses cannot be seen: {error}") from error
        return None
    except (psutil.Error, OSError) as error:
        raise UnseenError(f"what a kernel uses cannot be seen: {error}") from error
    return Use(
        memory,
        max(len(children), sum(threads for _, threads in held)),
        sum(stat.processor for stat in found if stat),
        any(stat.state in WANTS or _others_want(pid) for pid, stat in zip(pids, found) if stat),
    )


def wants(pid: int, thread: int) -> bool:
    """Whether one thread runs, could run, or waits for a disk."""
    stat = _stat(pid, f"task/{thread}/stat")
    return stat is not None and stat.state in WANTS


def has_proc() -> bool:
    """Whether this system tells such things."""
    return os.path.exists("/proc/self/stat")


@dataclass(frozen=True)
class _Stat:
    state: str
    processor: float
    threads: int

    @property
    def over(self) -> bool:
        return self.state in "ZX" and self.threads <= 1


def _stat(pid: int, name: str = "stat") -> _Stat | None:
    """One line of /proc; None where the process is gone, or where there is no /proc."""
    text = _read(f"/proc/{pid}/{name}")
    if not text:
        return None
    words = text.rpartition(")")[2].split()  # the name before it may hold anything
    # user and system time, of itself and of its children that have ended
    return _Stat(words[0], sum(map(int, words[11:15])) / TICK, int(words[17]))


def _others_want(pid: int) -> bool:
    """Whether a thread besides the first does."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(wants(pid, int(thread)) for thread in threads if int(thread) != pid)


def _is_there(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _status(pid: int) -> tuple[int, int]:
    found = _fields(f"/proc/{pid}/status", ("RssAnon", "RssShmem", "Threads"))
    return (found.get("RssAnon", 0) + found.get("RssShmem", 0)) * 1024, found.get("Threads", 0)


def _proportional(pid: int) -> int:
    try:
        found = _fields(f"/proc/{pid}/smaps_rollup", ("Pss_Anon", "Pss_Shmem"))
    except PermissionError:
        found = {}
    # where it cannot be read, all that it holds now: nothing, if it has just ended
    return sum(found.values()) * 1024 if found else _status(pid)[0]


class _CloserLook:
    """What processes hold, a shared page once: the sum of what each has of it.

    It is read by a thread of its own, and waited for a moment only. Whoever asks for this of a
    process that forks waits until it has, which in a fork bomb is for ever; and a watch that waits
    sees no other limit passed.
    """

    _under_way: ClassVar[dict[int, "_CloserLook"]] = {}

    def __init__(self, pids: list[int]) -> None:
        self._pids, self._found = pids, 0
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @classmethod
    def at(cls, pids: list[int]) -> int | None:
        """Bytes; None where that cannot be said now."""
        look = cls._under_way.get(pids[0])
        if look is None:
            look = cls._under_way[pids[0]] = cls(pids)
        look._thread.join(CLOSER_SECONDS)
        if look._thread.is_alive():
            return None
        cls._under_way.pop(pids[0], None)
        if look._error is not None:
            raise look._error
        return look._found

    def _read(self) -> None:
        try:
            self._found = sum(map(_proportional, self._pids))
        except OSError as error:
            self._error = error


def _fields(path: str, names: tuple[str, ...]) -> dict[str, int]:
    """Numbers from a file of lines "Name: number"; none where its process is gone."""
    found = {}
    for line in _read(path).splitlines():
        name, _, value = line.partition(":")
        if name in names:
            found[name] = int(value.split()[0])
    return found


def _read(path: str) -> str:
    """A file of /proc, "" where its process is gone. Raises OSError where it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
