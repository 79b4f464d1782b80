"""Lab 06: do hard negatives teach CLIP which thing is where? Ten things, four times the steps.

    labs experiment 06 word_order

Results are written after every net; started again with the same settings, it goes on.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch

from labsupport import pairs
from labsupport.experiments.contrastive import step_with, vectors
from labsupport.experiments.record import write_result
from labsupport.models.clip import losses
from labsupport.models.clip.model import CLIP, small_clip
from labsupport.models.clip.words import tokenize
from labsupport.retrieval import better
from labsupport.training import normalize

CONCEPTS, TRAIN_IMAGES, TEST_IMAGES = 10, 8000, 1000
STEPS, BATCH_SIZE, LR = 800, 128, 1e-3
EVERY = 100  # steps between two measurements
SEEDS = (0,)
LOSSES = {"random negatives": losses.clip_loss, "hard negatives": losses.hard_negative_loss}
TEST_SEED = 3_000_000


def settings() -> dict:
    """All that a record depends on, for the result file."""
    return {"concepts": CONCEPTS, "train_images": TRAIN_IMAGES, "test_images": TEST_IMAGES,
            "steps": STEPS, "batch_size": BATCH_SIZE, "lr": LR, "every": EVERY}


@torch.no_grad()
def order(model: CLIP, held_out: bool, images: int, style: str = "noto") -> float:
    """Share of images that prefer their caption to the one with the things exchanged."""
    batch = pairs.pair_scenes(images, held_out=held_out, concepts=CONCEPTS, style=style,
                              split="test", seed=TEST_SEED)
    found = vectors(model.encode_image, batch.images)
    true, wrong = (model.encode_text(tokenize(captions)) for captions in (
        batch.captions, [pairs.swapped(caption) for caption in batch.captions]))
    return round(better((found * true).sum(1), (found * wrong).sum(1)), 4)


def run(seeds: Sequence[int] = SEEDS, done: Sequence[dict] = (), steps: int = STEPS,
        train_images: int = TRAIN_IMAGES, test_images: int = TEST_IMAGES, progress: bool = True,
        keep: Callable[[list[dict]], None] | None = None) -> list[dict]:
    """One record a loss and seed: word order on pairs of training and on unseen ones, 0 to 1,
    after the steps in `at`; what is in `done` is not repeated."""
    records = list(done)
    for seed in seeds:
        for name, loss_of in LOSSES.items():
            if (name, seed) in {(r["net"], r["seed"]) for r in records}:
                continue
            train = pairs.pair_scenes(train_images, seed=seed, concepts=CONCEPTS)
            inputs = [normalize(train.images), tokenize(train.captions)]
            if name == "hard negatives":
                inputs.append(tokenize([pairs.swapped(caption) for caption in train.captions]))
            torch.manual_seed(seed)
            model = small_clip()
            step = step_with(loss_of)
            curve: dict[str, list] = {"at": [], "seen": [], "unseen": []}

            def watched(*given, step=step, curve=curve, counter=[0]) -> float:  # noqa: B006
                loss = step(*given)
                counter[0] += 1
                if counter[0] % EVERY == 0:
                    curve["at"].append(counter[0])
                    curve["seen"].append(order(given[0], False, test_images))
                    curve["unseen"].append(order(given[0], True, test_images))
                return loss

            history, _ = pairs.train_pairs(
                model, watched, inputs, [pairs.fact(caption) for caption in train.captions],
                steps=steps, batch_size=BATCH_SIZE, lr=LR, seed=seed,
                progress=f"{name}, seed {seed}" if progress else False)
            records.append({"net": name, "seed": seed, **curve,
                            "unseen style": order(model, False, test_images, "twemoji"),
                            "loss": round(sum(history.loss[-20:]) / 20, 4),
                            "seconds": round(history.seconds, 1)})
            if keep:
                keep(records)
    return records


def main(root: Path) -> None:
    """Run it on one thread; write data/results/06_word_order.json."""
    torch.set_num_threads(1)
    start = perf_counter()
    path = root / "data/results/06_word_order.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    if before.get("settings") != json.loads(json.dumps(settings())):
        before = {}

    def keep(records: list[dict]) -> None:
        write_result(path, command="labs experiment 06 word_order", settings=settings(),
                     records=records, seconds=before.get("seconds", 0) + perf_counter() - start)

    run(done=before.get("records", ()), keep=keep)
