"""Seconds of a call; and of several functions that take turns, so that a busy moment meets all."""

from collections.abc import Callable, Mapping
from statistics import median
from sys import platform
from time import perf_counter, thread_time
from typing import Any, TypeVar

import torch

# On one thread the processor's time says what the clock would on an idle machine. Windows counts
# it in steps of 16 ms, too coarse for this.
_clock = perf_counter if platform == "win32" else thread_time


Name = TypeVar("Name")


@torch.no_grad()
def measure_in_turns(
    functions: Mapping[Name, Callable[..., Any]],
    *inputs: Any,
    seconds: float = 1.0,
    rounds: tuple[int, int] = (3, 40),
    threads: int = 1,
) -> dict[Name, float]:
    """Median time in seconds of one call of each of `functions` on `inputs`, on a CPU.

    Each is called once without being counted, then all in turn, forwards and backwards, for about
    `seconds` altogether but at least and at most as often as `rounds` says. Without gradients. On
    one thread it is that thread's processor time, which other programs hardly disturb; on several
    `threads` it is the time that passes. A ratio of two medians is steadier than the medians.
    """
    clock = _clock if threads == 1 else perf_counter
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        names = list(functions)
        times: dict[Name, list[float]] = {name: [] for name in functions}
        start = perf_counter()
        for name in names:
            functions[name](*inputs)
        once = perf_counter() - start
        count = int(min(max(seconds / once, rounds[0]), rounds[1]))
        for i in range(count):
            for name in names if i % 2 else reversed(names):
                start = clock()
                functions[name](*inputs)
                times[name].append(clock() - start)
    finally:
        torch.set_num_threads(before)
    return {name: median(values) for name, values in times.items()}


def measure_seconds(
    fn: Callable[..., Any],
    *inputs: Any,
    warmup: int = 2,
    min_seconds: float = 0.5,
    threads: int | None = None,
) -> float:
    """Median wall time of one call `fn(*inputs)`, in seconds.

    The first `warmup` calls are not counted: they pay for memory allocation, kernel selection and
    cold caches. Then `fn` runs for at least `min_seconds` and three times; the median forgets the
    moments when the machine was busy with something else. `threads` limits the CPU threads for
    the measurement only (default: as many as PyTorch uses now). GPU work is waited for.
    """
    # imported here: it looks for a CUDA toolkit, and says on stderr that there is none
    from torch.utils.benchmark import Timer

    if warmup < 1:
        raise ValueError(f"warmup={warmup} must be at least 1")
    for _ in range(warmup):
        start = perf_counter()
        fn(*inputs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        once = perf_counter() - start
    timer = Timer(
        stmt="fn(*inputs)",
        globals={"fn": fn, "inputs": inputs},
        num_threads=threads or torch.get_num_threads(),
    )
    return timer.blocked_autorange(min_run_time=max(min_seconds, 3 * once)).median
