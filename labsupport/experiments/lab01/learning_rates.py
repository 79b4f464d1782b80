"""Lab 01: the peak learning rate of each model in `data_scaling`, so that neither is favoured.

    labs experiment 01 learning_rates

Judged on validation renders that neither `data_scaling` nor its tests use.
"""

from pathlib import Path

import torch

from labsupport.experiments.lab01.data_scaling import make_cnn, make_vit
from labsupport.experiments.record import Run
from labsupport.labs.lab01 import data_scaling as studies
from labsupport.metrics.classification import accuracy
from labsupport.training.loop import train_classifier

CANDIDATES = {"ViT": (1.5e-3, 3e-3, 6e-3), "CNN": (1.5e-3, 3e-3, 6e-3)}
IMAGES_PER_CLASS = 128
SEED = 77  # of the models and the training renders
VALIDATION_SEED = 78


def run(progress: bool = True) -> list[dict]:
    """One record a model and candidate: model, lr, final training loss, validation accuracy."""
    images, labels = studies.training_images(IMAGES_PER_CLASS, SEED)
    held_out, right = studies.training_images(IMAGES_PER_CLASS, VALIDATION_SEED)
    records = []
    makers = {"ViT": make_vit, "CNN": make_cnn}
    for name, make in makers.items():
        for lr in CANDIDATES[name]:
            torch.manual_seed(SEED)
            model = make()
            history = train_classifier(
                model,
                images,
                labels,
                steps=studies.STEPS,
                batch_size=studies.BATCH_SIZE,
                lr=lr,
                weight_decay=studies.WEIGHT_DECAY,
                seed=SEED,
                progress=f"{name}, lr {lr:g}" if progress else False,
            )
            records.append(
                {
                    "model": name,
                    "lr": lr,
                    "loss": round(history.last_loss(20), 4),
                    "validation": accuracy(model, held_out[:2000], right[:2000]),
                }
            )
    return records


def main(root: Path) -> None:
    """Run it on one thread and write data/results/01_learning_rates.json."""
    settings = {
        "images_per_class": IMAGES_PER_CLASS,
        "steps": studies.STEPS,
        "batch_size": studies.BATCH_SIZE,
        "weight_decay": studies.WEIGHT_DECAY,
        "seed": SEED,
    }
    this = Run(root, __name__, settings)
    this.keep(run())
