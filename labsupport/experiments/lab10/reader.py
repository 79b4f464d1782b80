"""A small language model that only reads: what frozen tokens are worth to it.

It is the unified model with a shorter trunk, trained on captions and answers alone. The features of
its images are worked out once, so that a step does not pass the tower.
"""

from dataclasses import replace

import torch
from torch import Tensor

from labsupport.experiments.lab10.training import BETAS, CLIP, LR, parameter_groups, reading_row
from labsupport.labs.lab09.training import rate
from labsupport.models.vilau.config import VilaUConfig
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.quantizer import Quantized
from labsupport.models.vilau.tower import VisualTower
from labsupport.training.loop import History, fit, shuffled_batches

BLOCKS = 3  # of the trunk; the unified model has 6


class Remembered(VisualTower):
    """Stands in for a tower whose features are known: they are what it is shown in the place of
    images. There are no codes, so nothing can be drawn."""

    def tokenize(self, images: Tensor) -> Quantized:
        """Features (batch, side², dim) as they are."""
        none = torch.zeros(images.shape[:2], dtype=torch.int64)
        return Quantized(none, images, images.new_zeros(()))


def reader(config: VilaUConfig | None = None) -> VilaU:
    """An untrained reader: of `config`, or of the lab's sizes with a trunk of `BLOCKS` blocks."""
    if config is None:
        config = VilaUConfig()
        config = replace(config, trunk=replace(config.trunk, depth=BLOCKS))
    return VilaU(config, Remembered(config.tower))


def train_reader(
    model: VilaU,
    features: Tensor,
    text: Tensor,
    *,
    steps: int,
    seed: int,
    batch_size: int = 32,
    lr: float = LR,
    progress: bool | str = "reader",
) -> History:
    """Train in place on images' features (n, places, dim) and captions (n, words), again and again
    in another order, half of the time for the caption and half for an answer."""
    generator = torch.Generator().manual_seed(seed)
    batches = shuffled_batches(len(features), batch_size, steps, generator)
    optimizer = torch.optim.AdamW(parameter_groups(model), lr, betas=BETAS)

    def step(_: int) -> Tensor:
        which = next(batches)
        chance = torch.rand(len(which), 2, generator=generator)
        rows = [reading_row(*pair) for pair in zip(text[which], chance, strict=True)]
        return model.loss(rows, features[which]).total

    model.train()
    history = fit(
        step,
        optimizer,
        steps=steps,
        schedule=lambda number, _: rate(number, steps),
        clip=CLIP,
        progress=progress,
    )
    model.eval()
    return history
