"""How fast the embedded data load and render, on one thread. Run by `make bench`.

Every figure is the median of several runs after a warm-up. The processor's time is given beside
the clock's, because only the former means something on a machine that does other work as well.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from labsupport.data import load_emoji, scenes, singles

RUNS = 5
IMAGES = 1024
TARGETS = {("scenes", 32): 2000, ("scenes", 64): 700}  # images a second, 1 to 3 objects


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of a call: by the clock, and of the processor."""
    clock, processor = [], []
    for _ in range(RUNS):
        start = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return statistics.median(clock), statistics.median(processor)


def load_afresh() -> None:
    load_emoji.cache_clear()
    load_emoji()


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, median of {RUNS} runs of {IMAGES} images\n")
    clock, processor = seconds(load_afresh)
    print(f"load_emoji(): {clock:.2f} s by the clock, {processor:.2f} s of the processor\n")

    print(f"{'':16}{'images/s, clock':>18}{'images/s, processor':>22}{'wanted':>9}")
    for function, sizes in ((singles, (32, 64)), (scenes, (32, 64, 128))):
        for size in sizes:
            function(IMAGES, size)  # warm-up
            clock, processor = seconds(lambda f=function, s=size: f(IMAGES, s))
            wanted = TARGETS.get((function.__name__, size), "")
            label = f"{function.__name__} {size} px"
            print(f"{label:16}{IMAGES / clock:18,.0f}{IMAGES / processor:22,.0f}{wanted:>9}")


if __name__ == "__main__":
    main()
