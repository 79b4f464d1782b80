"""Lab 07: is pretraining worth as much where colours give the things away?

    labs experiment 07 natural_colours

The same nets, steps and numbers of images as in `masked_pretraining`, with 5% of the labels, on
the same things in their own colours. Results are written after every net; started again with the
same settings, it goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from labsupport.data.hues import shapes
from labsupport.data.transforms import normalize
from labsupport.experiments.lab07 import masked_pretraining as base
from labsupport.experiments.record import resume
from labsupport.metrics.classification import accuracy
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
    keep: Callable[[list[dict]], None] | None = None,
) -> list[dict]:
    """A record for every start and seed: accuracy (0 to 1) on held-out images after fine-tuning
    with `LABELS` labelled images, and of a linear probe on the encoder before.

    A seed fixes images, initial weights and masks. What is in `done` is not repeated;
    `keep(records)` is called after every net.
    """
    test = shapes(test_images, split="test", seed=base.TEST_SEED, natural=True)
    test_x, records = normalize(test.images), list(done)
    finished = {(r["start"], r["seed"]) for r in records}
    for seed in seeds:
        batch = shapes(images, split="train", seed=seed, natural=True)
        x, y = normalize(batch.images), batch.labels
        for name, first in (("from scratch", 100 + seed), ("pretrained", seed)):
            if (name, seed) in finished:
                continue
            with torch.random.fork_rng():
                torch.manual_seed(first)
                net = small_mae()
            if name == "pretrained":
                base.pretrain(
                    net,
                    x,
                    min(base.STEPS, most_steps),
                    seed,
                    f"pretraining, seed {seed}" if progress else False,
                )
            classifier = base.fine_tune(
                net.encoder,
                x[:LABELS],
                y[:LABELS],
                min(base.FINE_TUNE[LABELS], most_steps),
                base.FINE_TUNE_LR,
                seed,
            )
            records.append(
                {
                    "start": name,
                    "seed": seed,
                    "accuracy": accuracy(classifier, test_x, test.labels),
                    "probe": base.probe(net.encoder, x[:LABELS], y[:LABELS], test_x, test.labels),
                }
            )
            if keep:
                keep(records)
    return records


def main(root: Path) -> None:
    """Run it on one thread; write data/results/07_natural_colours.json."""
    this = resume(root, __name__, settings())
    run(done=this.records, keep=this.keep)
