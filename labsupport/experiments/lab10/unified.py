"""The unified model of lab 10: one checkpoint that says what a sticker shows, and draws stickers.

    labs experiment 10 unified

One thread, about an hour on an idle core. Needs `10_tower` (visual_towers) and the judges of lab
08. Guidance and temperature are chosen on captions of training; weights are rounded to half
precision before anything is measured.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from labsupport.data.stickers import Stickers, stickers
from labsupport.experiments.lab08.hart_tokenizer import halved, round_weights
from labsupport.experiments.lab09.hart_generation import Bench
from labsupport.experiments.lab10.evaluation import read
from labsupport.experiments.lab10.training import JITTER, LR, READ, train_unified
from labsupport.experiments.record import Run
from labsupport.models.registry import pretrained, without
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.painting import paint

STEPS, BATCH_SIZE, SEED = 7000, 32, 0
EVERY = 250  # steps between two points of the curve
SPLITS = ("train", "triple", "pair")
READ_IMAGES, READ_SEED = 500, 31
TRIED, IMAGES = 200, 500  # captions that settings are chosen on; those of each split
# for which both judges find more to be right, on TRIED captions of training
GUIDANCES, TEMPERATURES = (1.0, 1.5, 2.0, 3.0), (0.5, 0.7, 0.85, 1.0)


def paint_all(model: VilaU, text: Tensor, batch: int = 100, seed: int = 0, **options) -> Tensor:
    """Images for captions (n, words), `batch` at a time; image i has the seed `seed` · n + i."""
    first = seed * len(text)
    parts = [
        paint(model, part.tolist(), seed=first + i * batch, **options)
        for i, part in enumerate(text.split(batch))
    ]
    return torch.cat(parts)


def judged(model: VilaU, bench: Bench, guidance: float, temperature: float) -> dict[str, float]:
    """Distance, shares judged right and CLIP score of images of the bench's captions."""
    images = paint_all(model, bench.text, guidance=guidance, temperature=temperature)
    return {"guidance": guidance, "temperature": temperature} | bench.score(images)


def chosen(tried: list[dict[str, float]]) -> tuple[float, float]:
    """Guidance and temperature of the most images right, the judges' mean."""
    best = max(tried, key=lambda row: row["all a"] + row["all b"])
    return best["guidance"], best["temperature"]


def to_read(model: VilaU, split: str) -> Stickers:
    """The images whose captions are asked for."""
    return stickers(READ_IMAGES, model.tower.size, split=split, seed=READ_SEED, jitter=JITTER)


def train(model: VilaU, steps: int) -> list[dict[str, Any]]:
    """Train in place; returns the curve, mean losses of every 250 steps."""
    curve: list[dict[str, Any]] = []
    sums = {"text": 0.0, "image": 0.0}

    def log(step: int, parts: dict[str, Any]) -> None:
        for name in sums:
            sums[name] += parts[name]
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            count = step % EVERY + 1
            means = {name: round(value / count, 5) for name, value in sums.items()}
            codes = [round(value, 4) for value in parts["codes"]]
            curve.append({"step": step + 1, **means, "codes": codes})
            tqdm.write(str(curve[-1]))
            sums.update(text=0.0, image=0.0)

    train_unified(model, steps=steps, seed=SEED, batch_size=BATCH_SIZE, on_step=log)
    return curve


def main(root: Path) -> None:
    """Train it, write data/checkpoints/10_unified.safetensors and its record."""
    settings = {
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "read": READ,
        "lr": LR,
        "seed": SEED,
        "jitter": JITTER,
        "images": IMAGES,
        "tried": TRIED,
    }
    run = Run(root, __name__, settings)
    torch.manual_seed(SEED)
    model = VilaU(tower=pretrained("10_tower"))
    curve = train(model, STEPS)
    learned = without(model, "tower")
    round_weights(learned)
    run.ship(halved(learned), "10_unified", seed=str(SEED))
    reading = [{"split": split} | read(model, to_read(model, split)) for split in SPLITS]
    run.keep([], reading=reading, curve=curve)
    bench = Bench("train", TRIED, model.tower.size, seed=32)
    tried = [judged(model, bench, g, t) for g in GUIDANCES for t in TEMPERATURES]
    run.keep([], reading=reading, tried=tried, curve=curve)
    guidance, temperature = chosen(tried)
    records = []
    for split in SPLITS:
        bench = Bench(split, IMAGES, model.tower.size)
        for c in sorted({*GUIDANCES, guidance}):
            records.append({"split": split} | judged(model, bench, c, temperature))
            run.keep(records, reading=reading, tried=tried, curve=curve, chosen=guidance)
