"""Lab 02: time, memory and multiply-accumulates of five kinds of attention, and of PyTorch's fused
softmax attention, against the number of tokens; the reference code.

    labs experiment 02 attention_cost
"""

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.experiments.record import Run
from labsupport.labs.lab02.cost_study import FILLED, cost_sweep, map_of_tokens, series
from labsupport.models.attention import (
    relu_linear,
    softmax_attention,
    sparse_groups,
    sparse_window_attention,
)
from labsupport.models.windows import WindowAttention, shifted_window_attention
from labsupport.notebook.plot.charts import fit_exponent

DIM, HEADS, WINDOW = 64, 2, 7
FEW = (14, 28, 42, 56, 63, 70, 77, 84)  # sides of the maps; all are whole windows
MANY = (14, 28, 42, 56, 70, 84, 112, 140, 168, 224)  # what costs N² would take too long here
LARGE = 56**2  # tokens from which on memory and time are fitted
ROUNDS = 12


class Layer(nn.Module):
    """Projections around a `core` of queries, keys, values: (groups, tokens, DIM) to the same."""

    def __init__(self, core: Callable[[Tensor, Tensor, Tensor], Tensor]):
        super().__init__()
        self.core = core
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(self.core(q, k, v).transpose(1, 2).flatten(2))


def makers() -> dict[str, Callable[[int], Callable[[], Any]]]:
    """From the name of a variant to a function: side of the map -> a call to be measured."""
    softmax, linear, fused = map(
        Layer, (softmax_attention, relu_linear, F.scaled_dot_product_attention)
    )
    windowed = WindowAttention(DIM, WINDOW, HEADS)

    def on_map(layer: nn.Module) -> Callable[[int], Callable[[], Any]]:
        def make(side: int) -> Callable[[], Any]:
            x = map_of_tokens(side, DIM)[0].flatten(1, 2)
            return lambda: layer(x)

        return make

    def on_windows(shift: int) -> Callable[[int], Callable[[], Any]]:
        def make(side: int) -> Callable[[], Any]:
            x = map_of_tokens(side, DIM)[0]
            return lambda: shifted_window_attention(x, windowed, WINDOW, shift)

        return make

    def on_filled(side: int) -> Callable[[], Any]:
        _, tokens, coords = map_of_tokens(side, DIM)
        return lambda: sparse_window_attention(
            tokens, sparse_groups(coords, WINDOW, WINDOW**2), softmax
        )

    return {
        "softmax": on_map(softmax),
        "window": on_windows(0),
        "shifted window": on_windows(WINDOW // 2),
        "sparse window": on_filled,
        "linear": on_map(linear),
        "softmax, fused": on_map(fused),
    }


def seconds(fn: Callable[[], Any]) -> float:
    """Median processor time of five calls after one of warm-up: the machine does other work too."""
    fn()
    found = []
    for _ in range(5):
        start = time.process_time()
        fn()
        found.append(time.process_time() - start)
    return statistics.median(found)


def peak(events: Sequence[int]) -> int:
    """The most bytes that are held at one time."""
    return max(accumulate(events, initial=0))


def run(
    few: Sequence[int] = FEW, many: Sequence[int] = MANY, large: int = LARGE, rounds: int = ROUNDS
) -> tuple[list[dict], dict[str, dict[str, float]]]:
    """The records of `cost_sweep`, with "attention" (MACs without projections), and the fitted
    exponents of every variant."""
    made = makers()
    sides = {name: few if "softmax" in name else many for name in made}
    records = cost_sweep(made, sides, rounds=rounds, seconds=seconds, peak=peak)
    for record in records:
        computed = record["tokens"] // (FILLED if record["variant"] == "sparse window" else 1)
        record["attention"] = record["macs"] - 4 * computed * DIM**2
    exponents = {}
    for name in made:
        exponents[name] = {}
        for key in ("attention", "bytes", "seconds"):
            n, values = series(records, name, key)
            kept = [i for i, length in enumerate(n) if key == "attention" or length >= large]
            fit = fit_exponent([n[i] for i in kept], [values[i] for i in kept])
            exponents[name][key] = round(fit, 4)
    return records, exponents


def main(root: Path) -> None:
    """Run it on one thread and write data/results/02_attention_cost.json."""
    settings = {
        "dim": DIM,
        "heads": HEADS,
        "window": WINDOW,
        "filled": f"1 of {FILLED}",
        "rounds": ROUNDS,
        "fitted_from_tokens": LARGE,
        "clock": "processor time, smallest median of all rounds",
    }
    this = Run(root, __name__, settings)
    records, exponents = run()
    this.keep(records, exponents=exponents)
