"""Lab 04: three masks and the loss of the best, against one mask, and against the mean loss.

    labs experiment 04 ambiguity

Equal nets, scenes, clicks and steps; only what the candidates are told differs.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from labsupport.data.click_scenes import ClickScenes
from labsupport.data.clicks import Clicks, clicks
from labsupport.experiments.lab04.by_masks import (
    Loss,
    best_of_three,
    mean_of_three,
    one_mask,
    seen_masks,
    train_on_masks,
)
from labsupport.experiments.lab04.evaluation import EACH, TEST_SEED, test_scenes
from labsupport.experiments.lab04.promptable import training_scenes, untrained
from labsupport.experiments.record import Records, resume
from labsupport.labs.lab04.evaluation import (
    FOUND,
    answer,
    candidate_iou,
    embed_scenes,
    part_and_whole,
    picked,
)
from labsupport.models.sam.model import Sam

SCENES, STEPS, SEEDS = 2000, 500, (0, 1, 2)
LOSSES: Mapping[str, tuple[Loss, int]] = {  # and how many candidates count
    "three, best learns": (best_of_three, 3),
    "three, all learn": (mean_of_three, 3),
    "one": (one_mask, 1),
}


def judge(net: Sam, candidates: int, scenes: ClickScenes, asked: Clicks) -> dict:
    """What a click gets from the first `candidates` masks; means over `asked`."""
    embeddings = embed_scenes(net, scenes)
    labels = torch.ones(len(asked), 1, dtype=torch.long)
    logits, scores = (
        x[:, :candidates] for x in answer(net, embeddings, asked.points[:, None], labels)
    )
    iou = candidate_iou(logits, asked.masks(scenes))
    best, unclear = iou.amax(dim=1), asked.ambiguous
    found = {
        "best": best.mean(),
        "best_clear": best[~unclear].mean(),
        "best_ambiguous": best[unclear].mean(),
        "picked": picked(iou, scores).mean(),
        "both_found": (part_and_whole(logits, asked, scenes) >= FOUND).float().mean(),
    }
    return {name: round(value.item(), 4) for name, value in found.items()}


def run(
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
    scenes: int = SCENES,
    tested: int = 300,
    done: Sequence[dict] = (),
    keep: Callable[[Records], object] | None = None,
) -> list[dict]:
    """One record a seed and loss; what is in `done` is not repeated."""
    records = Records(done, keep)
    train, test = training_scenes(scenes), test_scenes("seen", tested)
    masks, asked = seen_masks(train), clicks(test, EACH, seed=TEST_SEED)
    for seed in seeds:
        for name, (loss, candidates) in LOSSES.items():
            if records.have(masks=name, seed=seed):
                continue
            net = untrained("teacher", seed)
            history = train_on_masks(net, train.images, masks, steps=steps, loss=loss, seed=seed)
            records.add(
                {"masks": name, "seed": seed, "seconds": round(history.seconds, 1)}
                | judge(net, candidates, test, asked)
            )
    return records


def settings() -> dict:
    """All that a record depends on, for the result file."""
    return {"scenes": SCENES, "steps": STEPS, "seeds": SEEDS}


def main(root: Path) -> None:
    """Run it on one thread; write data/results/04_ambiguity.json."""
    this = resume(root, __name__, settings())
    run(done=this.records, keep=this.keep)
