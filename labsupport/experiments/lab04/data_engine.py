"""Lab 04: one turn of the data engine, on few labels; its control accepts everything.

    labs experiment 04 data_engine

A net learns from few labelled scenes and proposes masks on many that nobody labelled. Those that
it trusts are kept, and a new net learns from both, as many steps as one without them. Every mask
counts the same, whoever made it. Writes data/checkpoints/04_sam_engine.safetensors, the first
seed's net that learned from what was accepted.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from labsupport.data.click_scenes import ClickScenes
from labsupport.data.clicks import clicks
from labsupport.data.transforms import normalize
from labsupport.experiments.lab04.ambiguity import judge
from labsupport.experiments.lab04.by_masks import seen_masks, train_on_masks
from labsupport.experiments.lab04.evaluation import EACH, TEST_SEED, test_scenes
from labsupport.experiments.lab04.promptable import training_scenes, untrained
from labsupport.experiments.record import Records, resume
from labsupport.models.sam.automatic import Segments, segment_everything
from labsupport.models.sam.losses import mask_iou
from labsupport.models.sam.model import Sam

LABELLED, UNLABELLED, STEPS, SEEDS = 100, 500, 500, (0, 1, 2)
CHECKPOINT = "04_sam_engine"
GRID, OVERLAP, OFFSET = 8, 0.7, 0.5
TRUST: Mapping[str, tuple[float, float]] = {  # least predicted IoU and stability
    "accepted": (0.4, 0.5),
    "everything": (-1e9, 0.0),
}


def propose(net: Sam, images: Tensor, score: float, stability: float) -> list[Segments]:
    """What a grid of clicks finds in each image, as far as it is trusted."""
    return [
        segment_everything(
            net,
            normalize(image[None]),
            grid=GRID,
            min_score=score,
            min_stability=stability,
            offset=OFFSET,
            max_overlap=OVERLAP,
        )
        for image in images
    ]


def truth_of(found: Sequence[Segments], scenes: ClickScenes) -> list[float]:
    """The IoU of every mask that was found with the true mask nearest to it."""
    nearest = []
    for segments, masks in zip(found, seen_masks(scenes), strict=True):
        each = mask_iou(
            segments.masks[:, None].float() - 0.5,
            masks[None].expand(len(segments.masks), -1, -1, -1),
        )
        nearest += each.amax(dim=1).tolist()
    return nearest


def run(
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
    labelled: int = LABELLED,
    unlabelled: int = UNLABELLED,
    tested: int = 300,
    trust: Mapping[str, tuple[float, float]] = TRUST,
    done: Sequence[dict] = (),
    keep: Callable[[Records], object] | None = None,
    ship: Callable[[Sam], object] | None = None,
) -> list[dict]:
    """One record a seed: of the first net, of what it proposes, and of those trained after it.

    `ship(net)` is called with the first seed's net that learned from the accepted masks.
    """
    records = Records(done, keep)
    test = test_scenes("seen", tested)
    asked = clicks(test, EACH, seed=TEST_SEED)
    for seed in seeds:
        if records.have(seed=seed):
            continue
        scenes = training_scenes(labelled + unlabelled, seed=100 + seed)
        known, rest = scenes[:labelled], scenes[labelled:]
        true = seen_masks(known)
        first = untrained("teacher", seed)
        train_on_masks(first, known.images, true, steps=steps, evenly="masks", seed=seed)
        record: dict = {"seed": seed, "labelled": judge(first, 3, test, asked)}
        for name, (score, stability) in trust.items():
            found = propose(first, rest.images, score, stability)
            with_masks = [i for i, segments in enumerate(found) if len(segments.masks)]
            right = truth_of(found, rest)
            net = untrained("teacher", seed)
            train_on_masks(
                net,
                torch.cat([known.images, rest.images[with_masks]]),
                [*true, *(found[i].masks for i in with_masks)],
                steps=steps,
                evenly="masks",
                seed=seed,
            )
            if ship and name == "accepted" and seed == seeds[0]:
                ship(net)
            record[name] = judge(net, 3, test, asked) | {
                "masks": len(right),
                "images": len(with_masks),
                "true_iou": round(sum(right) / max(len(right), 1), 4),
            }
        records.add(record)
    return records


def settings() -> dict:
    """All that a record depends on, for the result file."""
    return {
        "labelled": LABELLED,
        "evenly": "masks",
        "unlabelled": UNLABELLED,
        "steps": STEPS,
        "seeds": SEEDS,
        "grid": GRID,
        "max_overlap": OVERLAP,
        "offset": OFFSET,
        "trust": TRUST,
    }


def main(root: Path) -> None:
    """Run it on one thread; write data/results/04_data_engine.json."""
    this = resume(root, __name__, settings())

    def ship(net: Sam) -> None:
        this.ship(net, CHECKPOINT, seed=str(SEEDS[0]))

    run(done=this.records, keep=this.keep, ship=ship)
