"""Lab 07: how much to hide, and in which way? Judged by a linear probe and by fine-tuning.

    labs experiment 07 mask_ratio

Every net is pretrained for as many steps. Results are written after every net; started again with
the same settings, it goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch

from labsupport.experiments.lab07 import masked_pretraining as base
from labsupport.experiments.record import Records, resume
from labsupport.models.mae import small_mae
from labsupport.models.masking import block_noise, random_noise

STEPS = 800
LABELS = 400
DRAWS = {"random": random_noise, "block": block_noise}
# way of masking, ratio, normalised target
NETS = (
    ("random", 0.75, True),
    ("block", 0.75, True),
    ("random", 0.9, True),
    ("random", 0.5, True),
    ("random", 0.25, True),
    ("block", 0.5, True),
    ("random", 0.75, False),
)
SEEDS = base.SEEDS


def settings() -> dict:
    """All that a record depends on, for the result file."""
    shared = base.settings()
    for name in ("steps", "mask_ratio", "longer", "macs", "encoder_macs", "probe_labels"):
        del shared[name]
    return shared | {"steps": STEPS, "labels": LABELS, "nets": NETS}


def run(
    seeds: Sequence[int] = SEEDS,
    nets: Sequence[tuple[str, float, bool]] = NETS,
    most_steps: int = 10**6,
    images: int = base.IMAGES,
    test_images: int = base.TEST_IMAGES,
    progress: bool = True,
    done: Sequence[dict] = (),
    keep: Callable[[list[dict]], object] | None = None,
) -> list[dict]:
    """A record for every net and seed: accuracy (0 to 1) of a linear probe and of fine-tuning with
    `LABELS` labelled images, on held-out images, and the seconds of pretraining.

    A seed fixes images, initial weights and their order. What is in `done` is not repeated.
    `keep(records)` is called after every net.
    """
    test = base.test_data(test_images)
    records = Records(done, keep)
    for seed in seeds:
        todo = [
            (draw, ratio, normalised)
            for draw, ratio, normalised in nets
            if not records.have(draw=draw, ratio=ratio, normalised=normalised, seed=seed)
        ]
        if not todo:
            continue
        train = base.data_of(seed, images)
        for draw, ratio, normalised in todo:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                net = small_mae(ratio, normalised, DRAWS[draw])
            title = f"{draw}, {ratio:.0%}, seed {seed}" if progress else False
            start = perf_counter()
            history = base.pretrain(net, train[0], min(STEPS, most_steps), seed, title)
            seconds = perf_counter() - start
            probe, fine_tuned = base.worth(net.encoder, train, test, LABELS, seed, most_steps)
            records.add(
                {
                    "draw": draw,
                    "ratio": ratio,
                    "normalised": normalised,
                    "seed": seed,
                    "probe": probe,
                    "fine_tuned": fine_tuned,
                    "loss": round(history.last_loss(50), 4),
                    "seconds": round(seconds, 1),
                }
            )
    return records


def main(root: Path) -> None:
    """Run it on one thread; write data/results/07_mask_ratio.json."""
    this = resume(root, __name__, settings())
    run(done=this.records, keep=this.keep)
