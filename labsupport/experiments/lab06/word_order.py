"""Lab 06: what teaches CLIP which thing is where? Ten things, longer training.

    labs experiment 06 word_order

Results are written after every net; started again with the same settings, it goes on.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from labsupport.data import pairs
from labsupport.data.transforms import normalize
from labsupport.experiments.lab06.contrastive import loss_with, vectors
from labsupport.experiments.record import Records, resume
from labsupport.labs.lab06.pairs import train_pairs
from labsupport.metrics.retrieval import better
from labsupport.models.clip import losses
from labsupport.models.clip.model import CLIP, small_clip
from labsupport.models.clip.words import tokenize

CONCEPTS, TRAIN_IMAGES, TEST_IMAGES = 10, 8000, 1000
LR = 1e-3
MEASUREMENTS = 8  # in the course of a training
SEEDS = (0,)


def things(caption: str) -> str:
    """The two things of a caption, whichever comes first: what a batch may hold only once."""
    return " and ".join(sorted(pairs.split_caption(caption)[::2]))


# Name: loss, what must differ in a batch, size of a batch, steps. Ten things make 144 facts, so a
# batch of 128 different facts holds nearly every caption together with the exchanged one; a batch
# of 32 different pairs of things holds none.
NETS = {
    "batches hold exchanged captions": (losses.clip_loss, pairs.fact, 128, 800),
    "batches hold none": (losses.clip_loss, things, 32, 1600),
    "batches hold none, hard negatives": (losses.hard_negative_loss, things, 32, 1600),
}
TEST_SEED = 3_000_000


def settings() -> dict:
    """All that a record depends on, for the result file."""
    return {
        "concepts": CONCEPTS,
        "train_images": TRAIN_IMAGES,
        "test_images": TEST_IMAGES,
        "lr": LR,
        "nets": {name: net[2:] for name, net in NETS.items()},
    }


@torch.no_grad()
def order(model: CLIP, held_out: bool, images: int, style: str = "noto") -> float:
    """Share of images that prefer their caption to the one with the things exchanged."""
    batch = pairs.pair_scenes(
        images, held_out=held_out, concepts=CONCEPTS, style=style, split="test", seed=TEST_SEED
    )
    found = vectors(model.encode_image, batch.images)
    true, wrong = (
        model.encode_text(tokenize(captions))
        for captions in (batch.captions, [pairs.swapped(caption) for caption in batch.captions])
    )
    return round(better((found * true).sum(1), (found * wrong).sum(1)), 4)


def watch(
    model: CLIP, curve: dict[str, list], every: int, test_images: int
) -> Callable[[int], None]:
    """What happens after a step: the scale is clamped, and after every so many steps word order is
    noted in `curve`."""

    def after(number: int) -> None:
        losses.clamp_scale(model.logit_scale)
        if (number + 1) % every == 0:
            curve["at"].append(number + 1)
            curve["seen"].append(order(model, False, test_images))
            curve["unseen"].append(order(model, True, test_images))

    return after


def run(
    seeds: Sequence[int] = SEEDS,
    done: Sequence[dict] = (),
    most_steps: int = 10**6,
    train_images: int = TRAIN_IMAGES,
    test_images: int = TEST_IMAGES,
    progress: bool = True,
    keep: Callable[[list[dict]], object] | None = None,
) -> list[dict]:
    """One record a loss and seed: word order on pairs of training and on unseen ones, 0 to 1,
    after the steps in `at`; what is in `done` is not repeated."""
    records = Records(done, keep)
    for seed in seeds:
        for name, (loss_of, key, batch_size, steps) in NETS.items():
            if records.have(net=name, seed=seed):
                continue
            steps = min(steps, most_steps)
            train = pairs.pair_scenes(train_images, seed=seed, concepts=CONCEPTS)
            inputs = [normalize(train.images), tokenize(train.captions)]
            if loss_of is losses.hard_negative_loss:
                inputs.append(tokenize([pairs.swapped(caption) for caption in train.captions]))
            torch.manual_seed(seed)
            model = small_clip()
            curve: dict[str, list] = {"at": [], "seen": [], "unseen": []}
            history, _ = train_pairs(
                model,
                loss_with(loss_of),
                inputs,
                [key(caption) for caption in train.captions],
                steps=steps,
                batch_size=batch_size,
                lr=LR,
                seed=seed,
                progress=f"{name}, seed {seed}" if progress else False,
                after=watch(model, curve, max(1, steps // MEASUREMENTS), test_images),
            )
            records.add(
                {
                    "net": name,
                    "seed": seed,
                    **curve,
                    "unseen style": order(model, False, test_images, "twemoji"),
                    "loss": round(history.last_loss(20), 4),
                    "seconds": round(history.seconds, 1),
                }
            )
    return records


def main(root: Path) -> None:
    """Run it on one thread; write data/results/06_word_order.json."""
    this = resume(root, __name__, settings())
    run(done=this.records, keep=this.keep)
