"""Limits on a running notebook, and the watch that ends a kernel which passes one."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import psutil

from labsupport.errors import SandboxError
from labsupport.grading.running.clock import LOOK_SECONDS, Clock
from labsupport.grading.running.kernels import end_kernel, kernel_process
from labsupport.grading.running.tree import Use, use_of, wants

MIB = 1024 * 1024
# MiB of one message; a larger one is dropped before it takes our memory: JSON can be written so
# that reading it takes twenty times its size.
MESSAGE_MB = 8
# Wall time is a far stop only, of what uses no processor and never sleeps: it depends on load.
FAR, LEAST_FAR_SECONDS = 10, 600
LOST_SECONDS = 1  # a kernel that has lost its outputs for as long is not just ending
STUCK_SECONDS = 600  # of wall time; a watch that has not looked for as long watches nothing


@dataclass
class RunLimits:
    """What one notebook may use while it runs; seconds as ``clock.Clock`` counts them."""

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


class WatchFailed(SandboxError):
    """The watch on a kernel failed, so the kernel was ended: our failure, nobody else's."""


@dataclass
class _Span:
    """Something that is awaited, and what is done where it takes too long."""

    until: float  # on the kernel's clock
    far: float  # wall time
    over: Callable[[], None]


class Watch:
    """Ends a client's kernel when the notebook takes too long, too much memory, too many tasks;
    and calls back when what is awaited does not come in time.

    ``client`` has ``limits``, its kernel manager ``km``, its kernel client ``kc``, and
    ``end(death)``; ``seconds`` are what is left of the notebook's time. A watch that fails ends
    the kernel: an unwatched one has no limits. ``error`` is then why, and leaving the context
    raises WatchFailed, whatever else was raised.
    """

    def __init__(self, client: Any, seconds: float):
        self.clock = Clock()
        self.error: BaseException | None = None
        self._client = client
        self._seconds = seconds
        self._span: _Span | None = None
        self._lock = threading.RLock()  # what is awaited changes in two threads
        self._lost_at: float | None = None
        self._kernel: Any = None  # the client's kernel client, once there is one
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        self._begin = self._looked = time.monotonic()
        self._reader = threading.get_native_id()  # who reads what the kernel sends
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._over.set()
        self._thread.join(None if self.error is None else 5)
        self.check()

    def expect(self, seconds: float | None, over: Callable[[], None] = lambda: None) -> None:
        """From now on something is awaited that may take so many seconds, else ``over`` is called
        once, in the watch's thread; None: nothing is. It replaces what was awaited before."""
        with self._lock:
            now = time.monotonic()
            self._span = None
            if seconds is not None:
                self._span = _Span(self.clock.seconds + seconds, now + _far(seconds), over)

    def failed(self) -> bool:
        """Whether the watch has failed, or has not looked for very long."""
        if self.error is None and time.monotonic() - self._looked > STUCK_SECONDS:
            self.error = TimeoutError(f"it has not looked for {STUCK_SECONDS} s")
        return self.error is not None

    def check(self) -> None:
        """Raise WatchFailed where the watch has failed."""
        if self.failed():
            about = f"{type(self.error).__name__}: {self.error}".splitlines()[0][:200]
            raise WatchFailed(f"the watch on a kernel failed ({about})") from self.error

    def _watch(self) -> None:
        try:
            while not self._over.wait(LOOK_SECONDS):
                self._look()
                self._looked = time.monotonic()
        except BaseException as error:
            self.error = error
            self._end_kernel()
        finally:
            self._over.wait()  # a monitored socket cannot be closed when nobody listens
            events = getattr(self._kernel, "events", None)
            if events is not None:
                events.close()

    def _end_kernel(self) -> None:
        """End it by whatever way still works; the client sees ``error`` where none does."""
        try:
            self._client.end(Death("died", "the watch on it failed"))
        except Exception:
            with contextlib.suppress(Exception):
                end_kernel(self._client.km)

    def _look(self) -> None:
        limits, process = self._client.limits, kernel_process(self._client.km)
        use = use_of(process, limits.tasks, limits.memory_mb * MIB)
        self.clock.look(use, we_work=wants(os.getpid(), self._reader))
        if self._has_lost_outputs() and use is not None:
            most = min(limits.output_mb, MESSAGE_MB)
            self._client.end(Death("output", f"it printed more than {most:g} MB"))
        if passed := _passed(use, limits):
            self._client.end(passed)
        far = time.monotonic() - self._begin > _far(self._seconds)
        if self.clock.seconds > self._seconds or far:
            most = limits.notebook_seconds
            self._client.end(Death("time", f"the notebook took more than {most:g} s"))
        with self._lock:
            span = self._span
            if span and (self.clock.seconds > span.until or time.monotonic() > span.far):
                self._span = None
                span.over()

    def _has_lost_outputs(self) -> bool:
        """Whether the kernel's outputs were cut off a while ago; one that is ending loses them
        too."""
        self._kernel = self._kernel or self._client.kc
        if self._lost_at is None:
            ask = getattr(self._kernel, "lost_outputs", None)
            if ask is not None and ask():
                self._lost_at = self.clock.seconds
        return self._lost_at is not None and self.clock.seconds - self._lost_at > LOST_SECONDS


def passed_limit(process: psutil.Process | None, limits: RunLimits) -> Death | None:
    """Which limit the process and its children pass at this moment, if they do."""
    return _passed(use_of(process, limits.tasks, limits.memory_mb * MIB), limits)


def _passed(use: Use | None, limits: RunLimits) -> Death | None:
    if use is None:
        return None
    if use.memory > limits.memory_mb * MIB:
        used = f"it used more than {limits.memory_mb:g} MB ({use.memory / MIB:.0f})"
        return Death("memory", used)
    if use.tasks > limits.tasks:
        return Death("tasks", f"it started more than {limits.tasks} processes and threads")
    return None


def _far(seconds: float) -> float:
    return max(FAR * seconds, LEAST_FAR_SECONDS)
