"""Lab 01: the small ViT shipped as data/checkpoints/01_vit.safetensors, for the attention widget.

    labs experiment 01 checkpoint

Patches of 4 x 4 pixels give 8 x 8 tokens, a grid on which attention maps show something.
"""

from pathlib import Path

import torch

from labsupport.experiments.record import Run
from labsupport.labs.lab01 import data_scaling as studies
from labsupport.metrics.classification import accuracy
from labsupport.models.vit import VisionTransformer
from labsupport.profiling.counts import count_parameters
from labsupport.training.loop import train_classifier

VIT = {"patch_size": 4, "dim": 64, "depth": 4, "heads": 4, "mlp_ratio": 2}
IMAGES_PER_CLASS = 1024
STEPS = 1800
BATCH_SIZE = 64
LR = 1.5e-3
SEED = 0


def make_vit() -> VisionTransformer:
    """The checkpoint's model, untrained."""
    return VisionTransformer(studies.IMAGE_SIZE, num_classes=studies.CONCEPTS, **VIT)


def run(
    steps: int = STEPS, images_per_class: int = IMAGES_PER_CLASS, progress: bool = True
) -> tuple[VisionTransformer, dict]:
    """The trained model and what was measured: loss, accuracies (0 to 1), seconds of training."""
    images, labels = studies.training_images(images_per_class, SEED)
    torch.manual_seed(SEED)
    model = make_vit()
    history = train_classifier(
        model,
        images,
        labels,
        steps=steps,
        batch_size=BATCH_SIZE,
        lr=LR,
        weight_decay=studies.WEIGHT_DECAY,
        seed=SEED,
        progress=progress,
    )
    record = {"loss": round(history.last_loss(50), 4), "seconds": round(history.seconds, 1)}
    found = {
        name: accuracy(model, *test)
        for name, test in studies.fresh_renders(studies.TEST_IMAGES).items()
    }
    return model, record | found


def main(root: Path) -> None:
    """Run it on one thread; write the checkpoint and data/results/01_checkpoint.json."""
    settings = {
        "image_size": studies.IMAGE_SIZE,
        "concepts": studies.CONCEPTS,
        "train_style": "noto",
        "other_style": "twemoji",
        "images_per_class": IMAGES_PER_CLASS,
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "weight_decay": studies.WEIGHT_DECAY,
        "seed": SEED,
        "test_images": studies.TEST_IMAGES,
        "vit": VIT | {"parameters": count_parameters(make_vit())},
    }
    this = Run(root, __name__, settings)
    model, record = run()
    this.ship(model, "01_vit", seed=str(SEED), test_accuracy=f"{record['test']:.4f}")
    this.keep([record])
