"""Seconds of several functions that take turns, so that a busy moment meets all of them."""

from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter
from typing import Any

import torch


@torch.no_grad()
def measure_in_turns(functions: Mapping[str, Callable[..., Any]], *inputs: Any,
                     seconds: float = 1.0, rounds: tuple[int, int] = (3, 40),
                     threads: int = 1) -> dict[str, float]:
    """Median wall time in seconds of one call of each of `functions` on `inputs`.

    Each is called once without being counted, then all in turn, forwards and backwards, for about
    `seconds` altogether but at least and at most as often as `rounds` says. On `threads` CPU
    threads; without gradients. A ratio of two of these medians is steadier than the medians.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        names, times = list(functions), {name: [] for name in functions}
        start = perf_counter()
        for name in names:
            functions[name](*inputs)
        once = perf_counter() - start
        count = int(min(max(seconds / once, rounds[0]), rounds[1]))
        for i in range(count):
            for name in names if i % 2 else reversed(names):
                start = perf_counter()
                functions[name](*inputs)
                times[name].append(perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return {name: median(values) for name, values in times.items()}
