"""From scratch, or from what captions alone have taught: two beginnings of an aligned tower.

    labs experiment 10 start

One thread, about ten minutes. One tower has both losses from its first step. The encoder and the
alignment of the other first learn by the contrastive loss alone, without quantizer and decoder,
its own "CLIP"; then it goes on with both. Equally many steps, the same images.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labsupport.data.stickers import Stickers, stickers
from labsupport.data.transforms import normalize
from labsupport.experiments.lab08.hart_tokenizer import reconstruction_loss
from labsupport.experiments.lab10.evaluation import (
    discrete_of,
    encoded_of,
    found_captions,
    rebuilt,
    unseen_stickers,
)
from labsupport.experiments.lab10.training import (
    CLIP,
    START_IMAGES,
    TOWER_BETAS,
    TOWER_DECAY,
    TOWER_JITTER,
    TOWER_LR,
    sticker_batches,
)
from labsupport.experiments.record import Records, resume
from labsupport.models.vilau.alignment import same_captions, sigmoid_loss
from labsupport.models.vilau.config import TowerConfig
from labsupport.models.vilau.tower import VisualTower, new_tower
from labsupport.training.loop import fit

STEPS, ALONE, BATCH_SIZE, SEED = 400, 120, 32, 0
STARTS = {"scratch": 0, "contrastive first": ALONE}  # steps with the contrastive loss alone
EVERY, TEST_IMAGES, SPLIT = 50, 200, "triple"


def settings() -> dict[str, Any]:
    """All that a record depends on, for the result file."""
    return {
        "steps": STEPS,
        "alone": ALONE,
        "batch_size": BATCH_SIZE,
        "lr": TOWER_LR,
        "seed": SEED,
        "split": SPLIT,
        "test_images": TEST_IMAGES,
    }


def score(tower: VisualTower, drawn: Stickers, quantized: bool) -> dict[str, float | None]:
    """Share of captions found, 0 to 1, and PSNR in dB of images rebuilt. While nothing is quantized
    nor rebuilt, the first is of the features as they are, and the second None."""
    tower.eval()
    tokens_of = discrete_of if quantized else encoded_of
    found: dict[str, float | None] = {
        "captions": round(found_captions(tower, drawn, tokens_of), 4),
        "psnr": None,
    }
    if quantized:
        whole = rebuilt(tower, drawn)[tower.quantizer.depth - 1]
        found["psnr"] = round(whole["psnr"], 3)
    tower.train()
    return found


def train(
    tower: VisualTower,
    drawn: Stickers,
    alone: int,
    *,
    steps: int,
    seed: int = SEED,
    every: int = EVERY,
    progress: bool | str = "tower",
) -> list[dict]:
    """Train an aligned tower in place, for `alone` steps by the contrastive loss alone and then by
    both; its score on `drawn` at the beginning and every few steps."""
    batch = sticker_batches(tower.size, BATCH_SIZE, seed, TOWER_JITTER, "train")
    optimizer = torch.optim.AdamW(
        tower.parameters(), TOWER_LR, betas=TOWER_BETAS, weight_decay=TOWER_DECAY
    )
    alignment = tower.alignment
    if alignment is None:
        raise ValueError("a tower without alignment has no contrastive loss")
    curve = [{"step": 0} | score(tower, drawn, quantized=not alone)]

    def step(number: int) -> Tensor:
        images, text = batch(number)
        if number >= alone:
            return tower.loss(images, text, distance=reconstruction_loss).total
        return sigmoid_loss(alignment(tower.encode(images), text), same_captions(text))

    def after(number: int, _: float) -> None:
        done = number + 1
        if done % every == 0 or done == steps:
            curve.append({"step": done} | score(tower, drawn, quantized=done > alone))

    tower.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # of the codes that start again
        fit(step, optimizer, steps=steps, clip=CLIP, after=after, progress=progress)
    tower.eval()
    return curve


def run(
    starts: Mapping[str, int] = STARTS,
    steps: int = STEPS,
    images: int = TEST_IMAGES,
    config: TowerConfig | None = None,
    done: Iterable[dict] = (),
    keep: Any = None,
) -> list[dict]:
    """Records of a tower with each beginning, one every few steps. What is in `done` is not
    repeated."""
    records = Records(done, keep)
    for start, alone in starts.items():
        if records.have(start=start, step=steps):
            continue
        torch.manual_seed(SEED)
        tower = new_tower(config)
        tower.start_from(normalize(stickers(START_IMAGES, tower.size, seed=SEED).images))
        drawn = unseen_stickers(tower.size, SPLIT, images)
        curve = train(tower, drawn, alone, steps=steps, progress=start)
        records.extend({"start": start} | point for point in curve)
        if keep:
            keep(records)
    return list(records)


def main(root: Path) -> None:
    """Train both and write data/results/10_start.json."""
    this = resume(root, __name__, settings())
    run(done=this.records, keep=this.keep)
