"""Time that a kernel has had, however busy the machine is."""

import time

from labsupport.grading.running.tree import Use, has_proc

LOOK_SECONDS = 0.25  # between two looks
LATE = 2 * LOOK_SECONDS  # a look that comes later has itself been kept waiting


class Clock:
    """Seconds charged to a kernel: the processor time of its processes, children included, and
    the time in which none of them wanted a processor (asleep, at a lock, waiting for input).

    What load costs is in neither: a task that could run, and does not because others have the
    processors, wants one and gets no processor time. On a quiet machine this is wall time, nearly,
    and with several tasks at work their processor time together.

    How long all were asleep is sampled, by the tasks' states at every look: as good on average as
    the scheduler's own count of waiting (schedstat), which is lost with every process that ends
    and is not kept by every Linux. A wait for a disk (state D) is load, too. So is a look that
    comes late, of which only ``LATE`` counts; and so is our own work: while the thread that reads
    what the kernel sends is busy, a kernel that sleeps is waiting for us.

    Where there is no /proc it is wall time.
    """

    def __init__(self, use_wall: bool | None = None) -> None:
        self.seconds = 0.0
        self._processor = self._asleep = 0.0
        self._wall = not has_proc() if use_wall is None else use_wall
        self._last: float | None = None

    def due(self) -> bool:
        """Whether it is time for the next look."""
        return self._last is None or time.monotonic() - self._last >= LOOK_SECONDS

    def look(self, use: Use | None, now: float | None = None, we_work: bool = False) -> None:
        """Take note of what a kernel uses ``now``; ``we_work``: it may be waiting for us."""
        now = time.monotonic() if now is None else now
        passed = now - self._last if self._last is not None else 0.0
        self._last = now
        if use is None:
            return
        if self._wall:
            self.seconds += passed
            return
        # a child's time is its parent's when it has ended, and nobody's for a moment before
        self._processor = max(self._processor, use.processor)
        if not use.wanted and not we_work:
            self._asleep += min(passed, LATE)
        self.seconds = self._processor + self._asleep
