"""Data scaling, as the notebook and the long runs of lab 01 measure it, with other settings."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from labsupport import data
from labsupport.data.transforms import normalize
from labsupport.metrics.classification import accuracy
from labsupport.profiling.counts import count_parameters
from labsupport.training.loop import train_classifier

# Settings of lab 01's data scaling; the peak learning rates are the best of a sweep
# (`labs experiment 01 learning_rates`, kept in data/results/01_learning_rates.json).
IMAGE_SIZE = 32
CONCEPTS = 40
STEPS = 400
BATCH_SIZE = 64
WEIGHT_DECAY = 0.05
LEARNING_RATES = {"ViT": 3e-3, "CNN": 3e-3}
TEST_IMAGES = 2000
TEST_SEED = 1_000_000  # test renders are the same for every run
PARAMETER_TOLERANCE = 0.02


def balanced_labels(images_per_class: int, classes: int) -> Tensor:
    """Labels 0, 1, …, classes-1, 0, 1, …: the first k·classes of them hold every class k times,
    so a small training set is the beginning of a larger one."""
    return torch.arange(classes).repeat(images_per_class)  # (images_per_class * classes,)


def training_images(images_per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """So many renders of each concept, (n, 3, 32, 32) in [-1, 1], and their labels (n,)."""
    labels = balanced_labels(images_per_class, CONCEPTS)
    batch = data.singles(
        len(labels),
        IMAGE_SIZE,
        concepts=CONCEPTS,
        style="noto",
        split="train",
        seed=seed,
        labels=labels,
    )
    return normalize(batch.images), labels


def fresh_renders(n: int = TEST_IMAGES) -> dict[str, tuple[Tensor, Tensor]]:
    """Fresh renders by what they test, "test" in the style trained on and "other_style": n images
    in [-1, 1] and their labels each, the same for every run."""
    tests = {}
    for name, style in (("test", "noto"), ("other_style", "twemoji")):
        batch = data.singles(
            n, IMAGE_SIZE, concepts=CONCEPTS, style=style, split="test", seed=TEST_SEED
        )
        tests[name] = normalize(batch.images), batch.labels
    return tests


def data_scaling_run(
    make_vit: Callable[[], nn.Module],
    make_cnn: Callable[[], nn.Module],
    *,
    sizes: Sequence[int],
    seeds: Sequence[int],
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    learning_rates: dict[str, float] = LEARNING_RATES,
    test_images: int = TEST_IMAGES,
    progress: bool = True,
) -> list[dict]:
    """Train a ViT and a CNN of as many parameters on growing training sets.

    Every run takes the same number of steps, so the sizes differ in data and not in compute.
    Training images are single emoji in the "noto" style, `sizes` of them for each of 40 concepts
    (chance is 2.5%); a seed fixes the initial weights, the renders and their order, and both
    models meet the same images. Tested on fresh renders in "noto" and in "twemoji", a style never
    trained on. After A. Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), section 4.3.

    `make_vit` and `make_cnn` take no arguments and return an untrained model of images
    (batch, 3, 32, 32) to logits (batch, 40); their parameters must agree within 2%, or ValueError
    is raised. Returns one record a run: model, images_per_class, seed, steps, parameters, the
    accuracies train, test and other_style (0 to 1), and seconds of training.
    """
    makers = {"ViT": make_vit, "CNN": make_cnn}
    counts = {name: count_parameters(make()) for name, make in makers.items()}
    if abs(counts["CNN"] - counts["ViT"]) > PARAMETER_TOLERANCE * counts["ViT"]:
        raise ValueError(
            f"make_cnn gives {counts['CNN']} parameters and make_vit {counts['ViT']}; they must "
            f"agree within {PARAMETER_TOLERANCE:.0%}"
        )
    tests = fresh_renders(test_images)
    records = []
    for seed in seeds:
        all_images, all_labels = training_images(max(sizes), seed)
        for size in sizes:
            images, labels = all_images[: size * CONCEPTS], all_labels[: size * CONCEPTS]
            for name, make in makers.items():
                with torch.random.fork_rng():
                    torch.manual_seed(seed)
                    model = make()
                title = f"{name}, {size} images a class, seed {seed}"
                history = train_classifier(
                    model,
                    images,
                    labels,
                    steps=steps,
                    batch_size=batch_size,
                    lr=learning_rates[name],
                    weight_decay=WEIGHT_DECAY,
                    seed=seed,
                    progress=title if progress else False,
                )
                seen = slice(0, test_images)  # enough of the training images to see overfitting
                records.append(
                    {
                        "model": name,
                        "images_per_class": size,
                        "seed": seed,
                        "steps": steps,
                        "parameters": counts[name],
                        "train": accuracy(model, images[seen], labels[seen]),
                        **{name: accuracy(model, *test) for name, test in tests.items()},
                        "seconds": round(history.seconds, 1),
                    }
                )
    return records
