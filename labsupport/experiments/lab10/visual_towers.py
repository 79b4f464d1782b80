"""The two visual towers of lab 10: one that learns from captions too, one that does not.

    labs experiment 10 visual_towers

One thread, about a quarter of an hour a tower on an idle core. Both see the same images in the
same order, from the same start. Weights are rounded to half precision before anything is measured.
"""

from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from labsupport.data.stickers import stickers
from labsupport.experiments.lab08.hart_tokenizer import halved, round_weights
from labsupport.experiments.lab10.evaluation import (
    code_use,
    found_captions,
    probed,
    rebuilt,
    unseen_stickers,
)
from labsupport.experiments.lab10.training import TOWER_LR, train_tower
from labsupport.experiments.record import Run
from labsupport.models.vilau.config import TowerConfig
from labsupport.models.vilau.tower import VisualTower

STEPS, BATCH_SIZE, SEED = 2400, 32, 0
TEST_IMAGES, PROBE_IMAGES, PROBE_SEED = 500, 2000, 77
EVERY = 100  # steps between two points of a curve
TOWERS = {"10_tower": True, "10_tower_plain": False}  # checkpoint: aligned
SPLITS = ("train", "triple", "pair")


def measure(tower: VisualTower, images: int = TEST_IMAGES, probe: int = PROBE_IMAGES) -> dict:
    """What a tower can do on each split: images rebuilt at every depth, use of the codes, captions
    found (None without alignment), and linear probes of its tokens."""
    known = stickers(probe, tower.size, seed=PROBE_SEED)
    found: dict[str, Any] = {"splits": []}
    for split in SPLITS:
        drawn = unseen_stickers(tower.size, split, images)
        captions = None if tower.alignment is None else found_captions(tower, drawn)
        found["splits"].append(
            {
                "split": split,
                "rebuilt": rebuilt(tower, drawn),
                "captions": captions,
                "probe": probed(tower, known, drawn),
            }
        )
    found["codes"] = code_use(tower, unseen_stickers(tower.size, "train", images))
    return found


def make(
    aligned: bool, steps: int = STEPS, config: TowerConfig | None = None
) -> tuple[VisualTower, list[dict[str, float]]]:
    """A trained tower, rounded to half precision, and its curve: mean losses of every 100 steps."""
    torch.manual_seed(SEED)
    sizes = vars(TowerConfig() if config is None else config)
    tower = VisualTower(TowerConfig(**{**sizes, "aligned": aligned}))
    curve: list[dict[str, float]] = []
    sums: dict[str, float] = {}

    def log(step: int, parts: dict[str, float]) -> None:
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            count = step % EVERY + 1
            means = {name: round(value / count, 5) for name, value in sums.items()}
            curve.append({"step": step + 1, **means})
            sums.clear()
            tqdm.write(str(curve[-1]))

    train_tower(tower, steps=steps, seed=SEED, batch_size=BATCH_SIZE, on_step=log)
    round_weights(tower)
    return tower, curve


def main(root: Path) -> None:
    """Train both, write their checkpoints, and data/results/10_visual_towers.json."""
    settings = {
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "lr": TOWER_LR,
        "seed": SEED,
        "test_images": TEST_IMAGES,
        "probe_images": PROBE_IMAGES,
        **{name: value for name, value in vars(TowerConfig()).items() if name != "aligned"},
    }
    run = Run(root, __name__, settings)
    records, curves = [], {}
    for checkpoint, aligned in TOWERS.items():
        tower, curve = make(aligned)
        run.ship(halved(tower), checkpoint, seed=str(SEED))
        records.append({"tower": checkpoint, "aligned": aligned} | measure(tower))
        curves[checkpoint] = curve
        run.keep(records, curves=curves)
