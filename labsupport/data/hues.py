"""Images of one thing each, every one in colours of its own: what is left to recognise is shape."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from labsupport.data import Batch, singles
from labsupport.data.splits import stream

SIZE, CONCEPTS = 32, 40


def turn_hues(images: Tensor, angles: Tensor) -> Tensor:
    """`images` (n, 3, height, width) in [0, 1], each with its hues turned by one of `angles` (n,).

    In radians, about the grey axis of the RGB cube; greys stay, what leaves [0, 1] is cut off.
    """
    cos, sin = angles.cos(), angles.sin() * math.sqrt(1 / 3)
    own = cos + (1 - cos) / 3
    before, after = (1 - cos) / 3 - sin, (1 - cos) / 3 + sin
    rows = [(own, before, after), (after, own, before), (before, after, own)]
    turn = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)  # (n, 3, 3)
    return torch.einsum("nij,njhw->nihw", turn.to(images), images).clamp(0, 1)


def shapes(n: int, *, split: str, seed: int = 0, natural: bool = False) -> Batch:
    """n images of 32 x 32 pixels of one of 40 things, large, on a plain ground, hues at random.

    A red banana is as frequent as a yellow one; with `natural`, things have the colours they were
    drawn in. As of `singles`, every 40 images hold each thing once, and the same arguments give
    the same images.
    """
    batch = singles(
        n,
        SIZE,
        concepts=CONCEPTS,
        split=split,
        seed=seed,
        background="plain",
        scale=(0.75, 1.0),
        rotation=0.2,
    )
    if natural:
        return batch
    angles = 2 * math.pi * torch.from_numpy(stream(seed, split, "hue").random(n)).float()
    return replace(batch, images=turn_hues(batch.images, angles))
