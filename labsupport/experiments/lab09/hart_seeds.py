"""A second seed for lab 09: is the gain by the residual the same for another generator?

    labs experiment 09 hart_seeds

One thread, about an hour; a run that is killed goes on where it stopped. What `hart_generation`
trained has seed 0; its record has these numbers too.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from labsupport.experiments.lab09.hart_generation import Bench, generate_all, settings, train
from labsupport.experiments.record import Run, write_result
from labsupport.models.hart.generator import Hart

SEEDS = (1,)
SPLITS = ("triple", "pair", "train")


def on_and_off(hart: Hart, split: str) -> list[dict]:
    """Two records of a split: with eight residual steps and without any."""
    bench = Bench(split)
    return [
        {"split": split, "way": way} | bench.score(generate_all(hart, bench.text, **options))
        for way, options in (("residual", {"steps": 8}), ("codes only", {"residual": False}))
    ]


def main(root: Path) -> None:
    """Train and measure; write data/results/09_hart_seeds.json."""
    run = Run(root, __name__, settings() | {"seed": list(SEEDS)})
    records, curves, seconds = [], {}, 0.0
    for seed in SEEDS:
        hart, curve, _, taken = train(root / f"build/09_hart_seed{seed}_training.pt", seed=seed)
        start = perf_counter()
        records += [
            {"training_seed": seed} | record
            for split in SPLITS
            for record in on_and_off(hart, split)
        ]
        curves[f"seed {seed}"] = curve[::20]
        seconds += taken + perf_counter() - start
    write_result(
        run.path,
        records=records,
        command=run.command,
        settings=run.settings,
        seconds=seconds,
        curves=curves,
    )
