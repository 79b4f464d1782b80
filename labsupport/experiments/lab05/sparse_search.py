"""Lab 05: which layout of sparsity is best for a given time?

    labs experiment 05 sparse_search

Measures the seconds of every pair of blocks at every ratio, asks the shipped net on validation
scenes with every layout there is (few enough here to try them all), and lets an evolutionary
search and a random one, three seeds each, find a good layout within the time that uniform sparsity
takes. What they find is tested on other scenes, and its time is measured.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from labsupport.experiments.lab05.sparsity import (
    DEPTHS,
    PAIRS,
    SIZE,
    TEST_SEED,
    data_of,
    lab_net,
    quality_of,
    uniform,
    with_layout,
)
from labsupport.experiments.record import Run
from labsupport.models.layouts import (
    CHOICES,
    Layout,
    child_of,
    every_layout,
    evolve,
    predicted_seconds,
    random_layout,
)
from labsupport.models.sparsevit import SparseSwin, centred, dense_layout, sparse_stage
from labsupport.models.weights import load_checkpoint
from labsupport.profiling.clock import measure_in_turns

VALIDATION_SEED, VALIDATION_IMAGES, TEST_IMAGES = 2_000_000, 32, 120
SCORE = "centred"
BUDGETS = (0.2, 0.4, 0.6)  # as much time as uniform sparsity of so much
SEEDS = (0, 1, 2)
TRIED = 40  # layouts that a search may ask the net about
BATCH = 8


def latency_table(
    net: SparseSwin, seconds: float = 30.0, batch: int = BATCH, choices: Sequence[float] = CHOICES
) -> tuple[dict, float]:
    """Seconds of one image in one pair of blocks, (stage, ratio) -> seconds, and in all the rest.

    A stage's pairs are timed together and the time shared between them; choosing the windows is
    part of it. On one thread.
    """
    images = torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    inputs, x = [], net.patch_embed(images)
    for stage in net.layers:
        inputs.append(x)
        x = stage(x)

    def part(stage: int, ratio: float) -> Callable[[Tensor], Tensor]:
        n = len(net.layers[stage].blocks) // 2
        return lambda _: sparse_stage(net.layers[stage], inputs[stage], (ratio,) * n, centred)

    net.layout = dense_layout(DEPTHS)
    ways: dict = {(s, r): part(s, r) for s in range(len(net.layers)) for r in choices}
    times = measure_in_turns(ways | {"all": net}, images, seconds=seconds)
    whole = times.pop("all")
    rest = whole - sum(times[s, 0.0] for s in range(len(net.layers)))
    table = {(s, r): t / batch / (len(net.layers[s].blocks) // 2) for (s, r), t in times.items()}
    return table, rest / batch


def evolutionary_search(quality: Callable, seconds: Callable, most: float, seed: int) -> Layout:
    """The best layout that evolution finds with TRIED questions, ten of them random to begin."""
    rng = random.Random(seed)
    start = [uniform(max(CHOICES)), *different_layouts(9, seconds, most, rng)]
    return evolve(
        quality,
        seconds,
        most,
        start,
        lambda parents: child_of(parents, rng),
        population=10,
        parents=5,
        rounds=TRIED // 10 - 1,
    )[0]


def different_layouts(n: int, seconds: Callable, most: float, rng: random.Random) -> list[Layout]:
    """Up to n different random layouts within the time, as many as 20,000 draws find."""
    found: dict[Layout, None] = {}
    for _ in range(20_000):
        layout = random_layout(PAIRS, rng)
        if len(found) < n and seconds(layout) <= most:
            found[layout] = None
    return list(found)


def random_search(quality: Callable, seconds: Callable, most: float, seed: int) -> Layout:
    """The best of TRIED different random layouts within the time."""
    return max(different_layouts(TRIED, seconds, most, random.Random(seed)), key=quality)


def settings() -> dict:
    """All that a record depends on, for the result file."""
    return {
        "validation_images": VALIDATION_IMAGES,
        "test_images": TEST_IMAGES,
        "budgets": BUDGETS,
        "tried": TRIED,
        "choices": CHOICES,
        "pairs": PAIRS,
        "batch": BATCH,
        "score": SCORE,
        "net": "05_sparsevit",
    }


def run(
    budgets: Sequence[float] = BUDGETS,
    seeds: Sequence[int] = SEEDS,
    validation_images: int = VALIDATION_IMAGES,
    test_images: int = TEST_IMAGES,
    seconds: float = 12.0,
) -> dict[str, list[dict]]:
    """`records`, one a budget, way and seed; `table`, seconds by stage and ratio; `layouts`, the
    validation mIoU and predicted seconds of everything there is."""
    net = lab_net().eval()
    load_checkpoint(net, "05_sparsevit")
    net.importance = centred
    with torch.no_grad():
        table, rest = latency_table(net, seconds)
    validation = data_of("segmentation", validation_images, "test", VALIDATION_SEED)
    test = data_of("segmentation", test_images, "test", TEST_SEED)
    known: dict[Layout, float] = {}

    def quality(layout: Layout) -> float:
        if layout not in known:
            known[layout] = quality_of(net, validation, layout, SCORE)
        return known[layout]

    def cost(layout: Layout) -> float:
        return predicted_seconds(layout, table, rest)

    everything = every_layout(PAIRS)
    for layout in everything:
        quality(layout)
    records = []
    for budget in budgets:
        most = cost(uniform(budget)) + 1e-12
        inside = [layout for layout in everything if cost(layout) <= most]
        found = [
            ("uniform", None, uniform(budget)),
            ("best of all", None, max(inside, key=quality)),
        ]
        for seed in seeds:
            best = evolutionary_search(quality, cost, most, seed)
            found += [
                ("evolution", seed, best),
                ("random", seed, random_search(quality, cost, most, seed)),
            ]
        images = torch.randn(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        ways = {layout: with_layout(net, layout) for layout in {x[2] for x in found}}
        ways[dense_layout(DEPTHS)] = with_layout(net, dense_layout(DEPTHS))
        times = measure_in_turns(ways, images, seconds=seconds / 3)
        dense = times[dense_layout(DEPTHS)]
        records += [
            {
                "budget": budget,
                "way": way,
                "seed": seed,
                "layout": layout,
                "validation": round(quality(layout), 4),
                "miou": round(quality_of(net, test, layout, SCORE), 4),
                "predicted": round(cost(layout) / cost(dense_layout(DEPTHS)), 4),
                "measured": round(times[layout] / dense, 4),
            }
            for way, seed, layout in found
        ]
    return {
        "records": records,
        "table": [{"stage": s + 1, "ratio": r, "seconds": t} for (s, r), t in table.items()]
        + [{"stage": "rest", "ratio": 0.0, "seconds": rest}],
        "layouts": [
            {"layout": layout, "validation": round(known[layout], 4), "seconds": cost(layout)}
            for layout in everything
        ],
    }


def main(root: Path) -> None:
    """Run it on one thread; write data/results/05_sparse_search.json."""
    this = Run(root, __name__, settings())
    this.keep(**run())
