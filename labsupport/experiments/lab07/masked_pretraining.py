"""Lab 07: what is a masked autoencoder's encoder worth when labels are few?

    labs experiment 07 masked_pretraining

Also writes data/checkpoints/07_mae.safetensors: the masked autoencoder of the first seed. Results
are written after every net; started again with the same settings, it goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from labsupport.data.hues import CONCEPTS, SIZE, shapes
from labsupport.data.transforms import normalize
from labsupport.experiments.record import Records, resume
from labsupport.metrics.classification import accuracy
from labsupport.metrics.probe import linear_probe
from labsupport.models.apply import in_parts
from labsupport.models.mae import MAEEncoder, MaskedAutoencoder, PooledClassifier, small_mae
from labsupport.profiling.counts import count_macs, count_parameters
from labsupport.training.loop import History, train_classifier

PATCH = 4
ENCODER = {"dim": 96, "depth": 4, "heads": 3, "mlp_ratio": 2}
DECODER = {"dim": 64, "depth": 1, "heads": 2, "mlp_ratio": 2}
MASK_RATIO = 0.75
IMAGES, TEST_IMAGES, TEST_SEED = 8000, 2000, 1_000_000
BATCH_SIZE, LR, WEIGHT_DECAY = 64, 1.5e-3, 0.05
STEPS = 1500  # of pretraining
FINE_TUNE = {80: 60, 400: 100, 800: 140}  # labelled images (1%, 5%, 10%): steps
FINE_TUNE_LR = 2e-3
LONGER = {400: 500}  # steps of patient runs, by labelled images
PROBE_LABELS = 400
SEEDS = (0, 1, 2)
CHECKPOINT = "07_mae"


def pretrain(
    net: MaskedAutoencoder, images: Tensor, steps: int, seed: int, progress: bool | str = False
) -> History:
    """Train `net` in place on `images` without labels. Seeded."""
    nothing = torch.zeros(len(images))
    return train_classifier(
        net,
        images,
        nothing,
        steps=steps,
        batch_size=BATCH_SIZE,
        lr=LR,
        weight_decay=WEIGHT_DECAY,
        seed=seed,
        progress=progress,
        loss_of=lambda outputs, _: outputs[0],
    )


def fine_tune(
    encoder: MAEEncoder,
    images: Tensor,
    labels: Tensor,
    steps: int,
    lr: float,
    seed: int,
    progress: bool | str = False,
) -> nn.Module:
    """A classifier that begins with a copy of `encoder`, all of it trained on labelled images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = PooledClassifier(encoder, ENCODER["dim"], CONCEPTS)
    train_classifier(
        net,
        images,
        labels,
        steps=steps,
        batch_size=BATCH_SIZE,
        lr=lr,
        weight_decay=WEIGHT_DECAY,
        seed=seed,
        progress=progress,
    )
    return net


def probe(
    encoder: MAEEncoder, images: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor
) -> float:
    """Accuracy of a linear probe on the mean of the patch tokens of a frozen encoder."""
    found = [
        in_parts(lambda part: encoder(part, 0.0)[0][:, 1:].mean(1), some) for some in (images, test)
    ]
    return linear_probe(found[0], labels, found[1], test_labels)


def worth(
    encoder: MAEEncoder,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    labels: int,
    seed: int,
    most_steps: int,
) -> tuple[float, float]:
    """Accuracies (0 to 1) on `test` of a linear probe on `encoder`, and of fine-tuning it, with the
    first `labels` of the images and labels in `train`."""
    few = train[0][:labels], train[1][:labels]
    steps = min(FINE_TUNE[labels], most_steps)
    classifier = fine_tune(encoder, *few, steps, FINE_TUNE_LR, seed)
    return probe(encoder, *few, *test), accuracy(classifier, *test)


def settings() -> dict:
    """All that a record depends on, for the result file."""
    with torch.device("meta"):
        net, image, noise = small_mae(), torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, 64)
    return {
        "size": SIZE,
        "patch": PATCH,
        "concepts": CONCEPTS,
        "encoder": ENCODER,
        "decoder": DECODER,
        "mask_ratio": MASK_RATIO,
        "images": IMAGES,
        "test_images": TEST_IMAGES,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "weight_decay": WEIGHT_DECAY,
        "steps": STEPS,
        "fine_tune": FINE_TUNE,
        "fine_tune_lr": FINE_TUNE_LR,
        "longer": LONGER,
        "probe_labels": PROBE_LABELS,
        "parameters": count_parameters(net),
        "encoder_parameters": count_parameters(net.encoder),
        "macs": count_macs(net, image, noise),
        "encoder_macs": count_macs(net.encoder, image, MASK_RATIO, noise),
    }


def data_of(seed: int, images: int = IMAGES, natural: bool = False) -> tuple[Tensor, Tensor]:
    """Training images (n, 3, 32, 32) in [-1, 1] and labels; every 40 hold each concept once."""
    batch = shapes(images, split="train", seed=seed, natural=natural)
    return normalize(batch.images), batch.labels


def test_data(images: int = TEST_IMAGES, natural: bool = False) -> tuple[Tensor, Tensor]:
    """Held-out images in [-1, 1] and labels, the same for every run."""
    batch = shapes(images, split="test", seed=TEST_SEED, natural=natural)
    return normalize(batch.images), batch.labels


def run(
    seeds: Sequence[int] = SEEDS,
    most_steps: int = 10**6,
    images: int = IMAGES,
    test_images: int = TEST_IMAGES,
    progress: bool = True,
    done: Sequence[dict] = (),
    keep: Callable[[int, nn.Module | None, list[dict]], None] | None = None,
) -> list[dict]:
    """Records of pretraining and of fine-tuning; accuracies from 0 to 1, on held-out images.

    A seed fixes images, initial weights, masks and which images have labels. What is in the
    records `done` is not repeated, but its net is trained again where a later one needs it.
    `keep(seed, autoencoder or None, records)` is called after every net.
    """
    test, test_labels = test_data(test_images)
    records = Records(done)

    def add(record: dict, net: nn.Module | None = None) -> None:
        records.append(record)
        if keep:
            keep(record["seed"], net, records)

    data, nets = {}, {}

    def of_seed(seed: int) -> tuple[Tensor, Tensor]:
        if seed not in data:
            data[seed] = data_of(seed, images)
        return data[seed]

    def fresh(seed: int) -> MaskedAutoencoder:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return small_mae()

    def pretrained(seed: int) -> MaskedAutoencoder:
        if seed in nets:
            return nets[seed]
        x, y = of_seed(seed)
        net, start = fresh(seed), perf_counter()
        few = x[:PROBE_LABELS], y[:PROBE_LABELS], test, test_labels
        untrained = probe(net.encoder, *few)
        history = pretrain(
            net, x, min(STEPS, most_steps), seed, f"pretraining, seed {seed}" if progress else False
        )
        nets[seed] = net
        if not records.have(start="pretraining", labels=0, seed=seed):
            add(
                {
                    "start": "pretraining",
                    "labels": 0,
                    "seed": seed,
                    "loss": round(history.last_loss(50), 4),
                    "test_loss": round(held_out_loss(net, test), 4),
                    "probe_untrained": untrained,
                    "probe": probe(net.encoder, *few),
                    "seconds": round(perf_counter() - start, 1),
                },
                net,
            )
        return net

    arms = [
        (start, labels, seed)
        for seed in seeds
        for labels in FINE_TUNE
        for start in ("pretrained", "from scratch")
    ]
    arms += [
        (f"{start}, longer", labels, seed)
        for start in ("from scratch", "pretrained")
        for labels in LONGER
        for seed in seeds
    ]
    for name, labels, seed in arms:
        if records.have(start=name, labels=labels, seed=seed):
            continue
        x, y = of_seed(seed)
        encoder = (pretrained(seed) if name.startswith("pretrained") else fresh(100 + seed)).encoder
        steps = (LONGER if name.endswith("longer") else FINE_TUNE)[labels]
        start = perf_counter()
        classifier = fine_tune(
            encoder,
            x[:labels],
            y[:labels],
            min(steps, most_steps),
            FINE_TUNE_LR,
            seed,
            f"{name}, {labels} labels, seed {seed}" if progress else False,
        )
        add(
            {
                "start": name,
                "labels": labels,
                "seed": seed,
                "steps": steps,
                "accuracy": accuracy(classifier, test, test_labels),
                "seconds": round(perf_counter() - start, 1),
            }
        )
    return records


@torch.no_grad()
def held_out_loss(net: MaskedAutoencoder, images: Tensor, seed: int = 0) -> float:
    """The loss on images of which nothing was trained on, with masks that `seed` fixes."""
    noise = torch.rand(
        len(images),
        net.encoder.grid[0] * net.encoder.grid[1],
        generator=torch.Generator().manual_seed(seed),
    )
    losses = [net(x, part)[0] for x, part in zip(images.split(250), noise.split(250))]
    return torch.stack(losses).mean().item()


def main(root: Path) -> None:
    """Run it on one thread; write the checkpoint and data/results/07_masked_pretraining.json."""
    this = resume(root, __name__, settings())

    def keep(seed: int, net: nn.Module | None, records: list[dict]) -> None:
        if net is not None and seed == SEEDS[0]:
            notes = {"seed": str(seed), "test_loss": f"{records[-1]['test_loss']:.4f}"}
            this.ship(net, CHECKPOINT, **notes)
        this.keep(records)

    run(done=this.records, keep=keep)
