"""Lab 07: is pretraining worth as much where colours give the things away?

    labs experiment 07 natural_colours

The same nets, steps and numbers of images as in `masked_pretraining`, with 5% of the labels, on
the same things in their own colours. Results are written after every net; started again with the
same settings, it goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from labsupport.experiments.lab07 import masked_pretraining as base
from labsupport.experiments.record import Records, resume
from labsupport.models.mae import small_mae

LABELS = 400
SEEDS = base.SEEDS


def settings() -> dict:
    """All that a record depends on, for the result file."""
    shared = base.settings()
    for name in ("longer", "macs", "encoder_macs", "probe_labels"):
        del shared[name]
    return shared | {"labels": LABELS}


def run(
    seeds: Sequence[int] = SEEDS,
    most_steps: int = 10**6,
    images: int = base.IMAGES,
    test_images: int = base.TEST_IMAGES,
    progress: bool = True,
    done: Sequence[dict] = (),
    keep: Callable[[list[dict]], object] | None = None,
) -> list[dict]:
    """A record for every start and seed: accuracy (0 to 1) on held-out images after fine-tuning
    with `LABELS` labelled images, and of a linear probe on the encoder before.

    A seed fixes images, initial weights and masks. What is in `done` is not repeated;
    `keep(records)` is called after every net.
    """
    test = base.test_data(test_images, natural=True)
    records = Records(done, keep)
    for seed in seeds:
        train = base.data_of(seed, images, natural=True)
        for name, first in (("from scratch", 100 + seed), ("pretrained", seed)):
            if records.have(start=name, seed=seed):
                continue
            with torch.random.fork_rng():
                torch.manual_seed(first)
                net = small_mae()
            if name == "pretrained":
                title = f"pretraining, seed {seed}" if progress else False
                base.pretrain(net, train[0], min(base.STEPS, most_steps), seed, title)
            probe, right = base.worth(net.encoder, train, test, LABELS, seed, most_steps)
            records.add({"start": name, "seed": seed, "accuracy": right, "probe": probe})
    return records


def main(root: Path) -> None:
    """Run it on one thread; write data/results/07_natural_colours.json."""
    this = resume(root, __name__, settings())
    run(done=this.records, keep=this.keep)
