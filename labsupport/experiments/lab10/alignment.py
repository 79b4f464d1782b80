"""Where captions are few: a small language model on frozen tokens that know captions, or do not.

    labs experiment 10 alignment

One thread, more than an hour; a run that is killed goes on where it was. Needs `10_tower` and
`10_tower_plain` (visual_towers). A reader (`reader`) learns from 250, 1,000 or 4,000 captioned
images, seen again and again, or from as many as it has time for, each seen once; all equally long,
and some three times as long, which tells few captions from little training. The aligned tower
itself has seen a new caption with every image of its training, endlessly many: that it helps where
a *reader* has few is no saving of captions. So there is a third tower, which has seen the captions
of 1,000 images, the very ones of the reader, and for rebuilding endless images without any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labsupport.data.emoji import STYLES
from labsupport.data.stickers import Stickers, draw_stickers, tokenize
from labsupport.data.transforms import normalize
from labsupport.experiments.lab08.hart_tokenizer import round_weights
from labsupport.experiments.lab10 import visual_towers
from labsupport.experiments.lab10.evaluation import (
    TEST_SEED,
    discrete_of,
    found_captions,
    read_images,
    rebuilt,
    unseen_stickers,
)
from labsupport.experiments.lab10.few_captions import train_with_few
from labsupport.experiments.lab10.reader import BLOCKS, reader, train_reader
from labsupport.experiments.lab10.training import JITTER, LR, sticker_batches
from labsupport.experiments.record import Records, resume
from labsupport.models.registry import pretrained
from labsupport.models.vilau.config import TowerConfig, VilaUConfig
from labsupport.models.vilau.tower import VisualTower, new_tower

STEPS, BATCH_SIZE, SEEDS = 300, 32, (0, 1, 2)
ENDLESS = STEPS * BATCH_SIZE  # images that are each seen once
AMOUNTS = (250, 1000, 4000, ENDLESS)
LONG = 900  # steps of those trained three times as long: captioned images and seeds
LONG_RUNS: dict[int, Sequence[int]] = {1000: SEEDS, LONG * BATCH_SIZE: (0,)}
FEW = 1000  # captioned images of the third tower, whose training is as long as the others'
POOL_SEED, TEST_IMAGES = 50, 300
SPLITS = ("train", "triple", "pair", "style")  # the last: captions of training, drawn otherwise
TOWERS = {"aligned": "10_tower", "plain": "10_tower_plain"}
THIRD = "aligned on few captions"

Shown = tuple[Tensor, Tensor]


def settings() -> dict[str, Any]:
    """All that a record depends on, for the result file."""
    return {
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "seeds": SEEDS,
        "blocks": BLOCKS,
        "captioned": AMOUNTS,
        "endless": [ENDLESS, LONG * BATCH_SIZE],
        "long": {"steps": LONG, "seeds": {str(n): seeds for n, seeds in LONG_RUNS.items()}},
        "few": FEW,
        "tower_steps": visual_towers.STEPS,
        "jitter": JITTER,
        "test_images": TEST_IMAGES,
        "style": STYLES[1],
    }


def captioned(size: int, n: int) -> Iterable[Shown]:
    """The first n captioned images, in parts: (images in [-1, 1], captions)."""
    batch = sticker_batches(size, BATCH_SIZE, POOL_SEED, JITTER, "train")
    for i in range(-(-n // BATCH_SIZE)):
        images, text = batch(i)
        yield images[: n - i * BATCH_SIZE], text[: n - i * BATCH_SIZE]


def to_read(size: int, split: str, n: int) -> Stickers:
    """Images that no training sees; those of "style" have captions that it does see."""
    if split != "style":
        return unseen_stickers(size, split, n)
    known = unseen_stickers(size, "train", n).attributes
    return draw_stickers(known, size, seed=TEST_SEED, style=STYLES[1])


def features_of(tower: VisualTower, shown: Iterable[Shown]) -> Shown:
    """Tokens (n, places, dim) and captions (n, words) of images in parts."""
    parts = [(discrete_of(tower, images), text) for images, text in shown]
    features, text = zip(*parts, strict=True)
    return torch.cat(features), torch.cat(text)


def run(
    towers: Mapping[str, VisualTower],
    amounts: Sequence[int] = AMOUNTS,
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
    images: int = TEST_IMAGES,
    config: VilaUConfig | None = None,
    done: Iterable[dict] = (),
    keep: Any = None,
) -> list[dict]:
    """A record for every tower, number of captioned images, seed and split, of readers trained for
    `steps`. What is in `done` is
    not repeated."""
    records = Records(done, keep)
    for name, tower in towers.items():
        missing = [
            (seed, n)
            for seed in seeds
            for n in amounts
            if not records.have(tower=name, captioned=n, steps=steps, seed=seed, split=SPLITS[-1])
        ]
        if not missing:
            continue
        features, text = features_of(tower, captioned(tower.size, max(n for _, n in missing)))
        tests = {split: to_read(tower.size, split, images) for split in SPLITS}
        new = {
            split: (discrete_of(tower, normalize(drawn.images)), tokenize(drawn.captions))
            for split, drawn in tests.items()
        }
        for seed, n in missing:
            torch.manual_seed(seed)
            model = reader(config)
            history = train_reader(
                model, features[:n], text[:n], steps=steps, seed=seed, batch_size=BATCH_SIZE
            )
            for split, (seen, said) in new.items():
                label = {"tower": name, "aligned": name != "plain", "captioned": n, "steps": steps}
                label["seed"] = seed
                if not records.have(**label, split=split):
                    found = {k: round(v, 4) for k, v in read_images(model, seen, said).items()}
                    loss = round(history.last_loss(50), 5)
                    records.add(label | {"split": split} | found | {"loss": loss})
    return list(records)


def third_tower(kept: Path, steps: int, few: int, config: TowerConfig | None = None) -> VisualTower:
    """The tower that has seen `few` captions; it is trained once and `kept`."""
    torch.manual_seed(visual_towers.SEED)
    tower = new_tower(config)
    if kept.is_file():
        tower.load_state_dict(torch.load(kept, weights_only=True))
        return tower.eval()
    images, text = (torch.cat(p) for p in zip(*captioned(tower.size, few), strict=True))
    train_with_few(tower, images, text, steps=steps, seed=visual_towers.SEED)
    round_weights(tower)
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tower.state_dict(), kept)
    return tower


def tower_scores(tower: VisualTower, images: int = TEST_IMAGES) -> list[dict]:
    """Of every split: captions found without a reader, 0 to 1 (None without alignment), and PSNR
    in dB of images rebuilt."""
    records = []
    for split in SPLITS:
        drawn = to_read(tower.size, split, images)
        found = None if tower.alignment is None else round(found_captions(tower, drawn), 4)
        whole = next(r for r in rebuilt(tower, drawn) if r["depth"] == tower.quantizer.depth)
        records.append({"split": split, "captions": found, "psnr": round(whole["psnr"], 3)})
    return records


def main(root: Path) -> None:
    """Train and measure; write data/results/10_alignment.json."""
    this = resume(root, __name__, settings())
    towers = {name: pretrained(checkpoint) for name, checkpoint in TOWERS.items()}
    scores = dict(this.more.get("towers", {}))
    keep = partial(this.keep, towers=scores)
    records = run(towers, done=this.records, keep=keep)
    for n, seeds in LONG_RUNS.items():
        records = run(towers, (n,), seeds, LONG, done=records, keep=keep)
    scores |= {name: tower_scores(tower) for name, tower in towers.items()}
    third = third_tower(root / "build/10_few_captions.pt", visual_towers.STEPS, FEW)
    scores[THIRD] = tower_scores(third)
    records = run({THIRD: third}, amounts=(FEW,), done=records, keep=keep)
    this.keep(records, towers=scores)
