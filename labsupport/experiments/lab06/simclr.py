"""Lab 06: SimCLR on images without labels, judged by a linear probe; three seeds.

    labs experiment 06 simclr

The tower of the lab's CLIP learns from two views of each image alone. Then it is frozen, and a
linear layer learns to name the thing in an image from few labels. Beside it: the tower as it
started, views that differ in their crop only, and the whole tower trained on the same few labels.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from labsupport.data import CONCEPTS, Batch, pairs, singles
from labsupport.data.augment import two_views
from labsupport.data.transforms import normalize
from labsupport.experiments.lab06.contrastive import vectors
from labsupport.experiments.record import Records, resume
from labsupport.metrics.classification import accuracy
from labsupport.models.clip.losses import nt_xent
from labsupport.models.clip.model import small_clip
from labsupport.training.loop import train_classifier

IMAGES, STEPS, BATCH_SIZE, LR, TEMPERATURE = 8000, 150, 128, 2e-3, 0.2
LABELLED, LABEL_STEPS, LABEL_LR = (80, 400), 150, 2e-3  # 2 or 10 images of each of 40 things
PROBE_STEPS, PROBE_LR = 600, 1e-2
TEST_IMAGES, TEST_SEED = 2000, 1_000_000
SEEDS = (0, 1, 2)
# name -> (trains without labels, strength of the changes of colour)
SUPERVISED = "all trained on the labels"
NETS = {
    "untrained": (False, 0.0),
    "SimCLR": (True, 0.8),
    "SimCLR, crops only": (True, 0.0),
    SUPERVISED: (False, 0.0),
}


class Views(nn.Module):
    """Images (batch, 3, height, width) in [0, 1] to the vectors of two views (2, batch, dim).

    The loss sees the vectors behind a small head; what is used afterwards is the tower in front
    of it (section 4.2 of the SimCLR paper).
    """

    def __init__(self, tower: nn.Module, seed: int, colour: float):
        super().__init__()
        self.tower, self.colour = tower, colour
        self.head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, images: Tensor) -> Tensor:
        views = torch.cat(two_views(images, self.generator, colour=self.colour))
        return torch.stack(self.head(self.tower(normalize(views))).chunk(2))


def settings() -> dict:
    """All that a record depends on, for the result file."""
    return {
        "size": pairs.SIZE,
        "images": IMAGES,
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "temperature": TEMPERATURE,
        "labelled": [*LABELLED, LABEL_STEPS, LABEL_LR],
        "probe": [PROBE_STEPS, PROBE_LR],
        "test_images": TEST_IMAGES,
    }


def probe(tower: nn.Module, seed: int, labels: int) -> float:
    """Accuracy of a linear layer on the frozen, standardised vectors, from `labels` images."""
    train, test = labelled(labels, seed), held_out()
    x, held = vectors(tower, train.images), vectors(tower, test.images)
    centre, deviation = x.mean(0), x.std(0) + 1e-6
    layer = nn.Linear(64, len(CONCEPTS))
    train_classifier(
        layer,
        (x - centre) / deviation,
        train.labels,
        steps=PROBE_STEPS,
        batch_size=labels,
        lr=PROBE_LR,
        seed=seed,
        progress=False,
    )
    return accuracy(layer, (held - centre) / deviation, test.labels)


def labelled(n: int, seed: int) -> Batch:
    """n images that come with labels, equally many of every thing."""
    return singles(
        n, pairs.SIZE, split="train", seed=seed + 100, labels=torch.arange(n) % len(CONCEPTS)
    )


def held_out() -> Batch:
    """The images that every net is tested on."""
    return singles(TEST_IMAGES, pairs.SIZE, split="test", seed=TEST_SEED)


def train_tower(name: str, seed: int, progress: bool = True) -> tuple[nn.Module, dict]:
    """One of NETS in eval mode, and its record."""
    without_labels, colour = NETS[name]
    torch.manual_seed(seed)
    tower, record = small_clip().image, {"net": name, "seed": seed}
    title = f"{name}, seed {seed}" if progress else False
    if without_labels:
        images = singles(IMAGES, pairs.SIZE, split="train", seed=seed).images
        history = train_classifier(
            Views(tower, seed, colour),
            images,
            torch.zeros(len(images)),
            steps=STEPS,
            batch_size=BATCH_SIZE,
            lr=LR,
            seed=seed,
            progress=title,
            loss_of=lambda z, _: nt_xent(*z, TEMPERATURE),
        )
        record |= {"loss": round(history.last_loss(20), 4), "seconds": round(history.seconds, 1)}
    return tower.eval(), record


def supervised(seed: int, labels: int, progress: bool = True) -> float:
    """Accuracy of the whole tower with a linear layer, trained on `labels` images only."""
    torch.manual_seed(seed)
    net = nn.Sequential(small_clip().image, nn.Linear(64, len(CONCEPTS)))
    train, test = labelled(labels, seed), held_out()
    train_classifier(
        net,
        normalize(train.images),
        train.labels,
        steps=LABEL_STEPS,
        batch_size=min(BATCH_SIZE, labels),
        lr=LABEL_LR,
        seed=seed,
        progress=f"{labels} labels, seed {seed}" if progress else False,
    )
    return accuracy(net, normalize(test.images), test.labels)


def run(
    seeds: Sequence[int] = SEEDS,
    done: Sequence[dict] = (),
    keep: Callable[[list[dict]], object] | None = None,
    progress: bool = True,
) -> list[dict]:
    """One record a net and seed; what is in `done` is not repeated. `keep(records)` is called
    after every net."""
    records = Records(done, keep)
    for seed in seeds:
        for name in NETS:
            if records.have(net=name, seed=seed):
                continue
            tower, record = train_tower(name, seed, progress)
            for labels in LABELLED:
                right = (
                    supervised(seed, labels, progress)
                    if name == SUPERVISED
                    else probe(tower, seed, labels)
                )
                record[f"accuracy, {labels} labels"] = round(right, 4)
            records.add(record)
    return records


def main(root: Path) -> None:
    """Run it on one thread and write data/results/06_simclr.json; it goes on where it stopped."""
    this = resume(root, __name__, settings())
    run(done=this.records, keep=this.keep)
