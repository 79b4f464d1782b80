"""What depth buys: towers with 1, 2, 4 and 8 codes a place from one codebook of 512, and a plain
codebook that has as many bits as a residual one.

    labs experiment 10 depths

One thread, about fifteen minutes on an idle core. None learns from captions. All train equally long
on the same images. A plain codebook of as many bits as 4 codes of 512 would have 512⁴ vectors; so
the one that is compared has 4,096, and stands beside 2 codes of 64.
"""

from collections.abc import Iterable, Sequence
from math import log2
from pathlib import Path
from typing import Any

import torch

from labsupport.data.stickers import Stickers
from labsupport.experiments.lab10.evaluation import code_use, rebuilt, unseen_stickers
from labsupport.experiments.lab10.training import TOWER_LR, train_tower
from labsupport.experiments.record import Records, resume
from labsupport.models.vilau.config import TowerConfig
from labsupport.models.vilau.tower import VisualTower, new_tower

STEPS, BATCH_SIZE, SEEDS = 300, 32, (0,)
# depth and codes: depth buys fidelity; as many bits in two codebooks and in one
TRIED = ((1, 512), (2, 512), (4, 512), (8, 512), (2, 64), (1, 4096))
TEST_IMAGES, SPLITS = 300, ("triple", "pair")  # of each; measured together
# of the vectors that a code would have if all had equally many: those of fewer start again. That
# of the lab's tower
LEAST_SHARE = TowerConfig.least * TowerConfig.codes / (BATCH_SIZE * TowerConfig.side**2)


def settings() -> dict[str, Any]:
    """All that a record depends on, for the result file."""
    return {
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "lr": TOWER_LR,
        "seeds": SEEDS,
        "tried": TRIED,
        "splits": SPLITS,
        "test_images": len(SPLITS) * TEST_IMAGES,
        "dim": TowerConfig.dim,
        "places": TowerConfig.side**2,
        "least_share": LEAST_SHARE,
    }


def tower_of(depth: int, codes: int, seed: int, **sizes: Any) -> VisualTower:
    """An untrained tower without alignment; `sizes` of `TowerConfig` where they are others."""
    torch.manual_seed(seed)
    least = LEAST_SHARE * BATCH_SIZE * sizes.get("side", TowerConfig.side) ** 2 / codes
    return new_tower(TowerConfig(depth=depth, codes=codes, aligned=False, least=least, **sizes))


def held_out(size: int, n: int) -> Stickers:
    """n images of every split, together."""
    drawn = [unseen_stickers(size, split, n) for split in SPLITS]
    return Stickers(
        torch.cat([part.images for part in drawn]), torch.cat([part.attributes for part in drawn])
    )


def run(
    tried: Sequence[tuple[int, int]] = TRIED,
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
    images: int = TEST_IMAGES,
    sizes: dict[str, Any] | None = None,
    done: Iterable[dict] = (),
    keep: Any = None,
) -> list[dict]:
    """A record for every pair (depth, codes) and seed. What is in `done` is not repeated."""
    records = Records(done, keep)
    for seed in seeds:
        for depth, codes in tried:
            if records.have(depth=depth, codes=codes, seed=seed):
                continue
            tower = tower_of(depth, codes, seed, **(sizes or {}))
            title = f"{depth} of {codes}"
            train_tower(tower, steps=steps, seed=seed, batch_size=BATCH_SIZE, progress=title)
            drawn = held_out(tower.size, images)
            by_depth = {found["depth"]: found for found in rebuilt(tower, drawn)}
            found = {name: round(by_depth[depth][name], 4) for name in ("psnr", "ssim", "distance")}
            use = [round(one["used"], 4) for one in code_use(tower, drawn)]
            record = {"depth": depth, "codes": codes, "seed": seed, "bits": depth * log2(codes)}
            records.add(record | found | {"used": use})
    return list(records)


def main(root: Path) -> None:
    """Train and measure; write data/results/10_depths.json."""
    this = resume(root, __name__, settings())
    run(done=this.records, keep=this.keep)
