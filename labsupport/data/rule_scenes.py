"""Scenes with a rule: the class of an object depends on another object, far away from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from . import arguments as check
from .drawing import MAX_IMAGES, Look, draw
from .layout import Layout
from .splits import check_split, stream

SIGNS = ("star", "heart")  # with the first in the scene, take the fruit; with the second, vehicles
FRUIT = ("apple", "banana", "strawberry", "pineapple")
VEHICLES = ("car", "airplane", "rocket", "sailboat")
CLASSES = ("background", "sign", "take", "leave")
NEAR, FAR = 0.30, 0.64  # the sign lies before NEAR, the things behind FAR, in shares of the side
_SIGN_SIDE, _THING_SIDE = 0.27, (0.26, 0.34)  # longest sides, in shares of the image's


@dataclass(frozen=True)
class RuleScenes:
    """n scenes and what each pixel is.

    Attributes:
        images: float32 (n, 3, size, size) in [0, 1].
        targets: int64 (n, size, size), indices into CLASSES.
        rules: int64 (n,), which of SIGNS is in the scene.
    """

    images: torch.Tensor
    targets: torch.Tensor
    rules: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)


def rule_scenes(
    n: int,
    size: int = 96,
    *,
    style: str = "noto",
    split: str = "all",
    seed: int = 0,
    background: str = "calm",
) -> RuleScenes:
    """n scenes of one sign and two things on the far side of the image.

    What a thing is called depends on the sign: with a star, fruit is "take" and vehicles are
    "leave"; with a heart it is the other way round. The sign lies within the first third of the
    image and the things in the last, counted from one of the four sides, so at least a third of
    the side is between them. Each rule and each group of things is equally likely, the two things
    are drawn independently, and the background keeps away from the colours of both signs: a net
    that cannot see the sign can only guess.
    Repeatable as singles() is. Raises ValueError for a bad argument.
    """
    check.whole("n", n, 1, MAX_IMAGES)
    check.whole("size", size, 48, 256)
    check_split(split)
    styles = check.style_names(style)
    classes = SIGNS + FRUIT + VEHICLES
    things = len(FRUIT) + len(VEHICLES)
    draws = stream(seed, split, "rule label").random((n, 3))
    rule = (2 * draws[:, 0]).astype(np.int64)
    chosen = (things * draws[:, 1:]).astype(np.int64)  # (n, 2)
    labels = np.concatenate([rule[:, None], len(SIGNS) + chosen], axis=1)  # (n, 3)
    batch, _ = draw(
        labels,
        Look(size, classes, styles, background, split, seed, _THING_SIDE, 0.35, flip=True),
        centred=True,
        place=lambda layout: _apart(layout, size, seed, split),
        avoid=np.concatenate([np.tile(np.arange(len(SIGNS)), (n, 1)), labels[:, 1:]], axis=1),
    )
    is_vehicle = chosen >= len(FRUIT)
    take = is_vehicle == (rule[:, None] == 1)
    names = np.concatenate(
        [np.zeros((n, 1), int), np.ones((n, 1), int), np.where(take, 2, 3)], axis=1
    )
    table = torch.from_numpy(names)  # (n, 4): of no object, the sign, the two things
    targets = table.gather(1, batch.instances.flatten(1)).view(n, size, size)
    return RuleScenes(batch.images, targets, torch.from_numpy(rule))


def _apart(layout: Layout, size: int, seed: int, split: str) -> Layout:
    """The sign at one side, the things one beside the other at the opposite side."""
    n = len(layout.side)
    draws = stream(seed, split, "rule position").random((n, 3, 2))
    side_of = (4 * stream(seed, split, "rule side").random(n)).astype(int)
    shrink = np.ones_like(layout.side)
    shrink[:, 0] = _SIGN_SIDE * size / layout.side[:, 0]
    half = np.maximum(layout.half_width, layout.half_height) * shrink  # a square for any turn
    half = np.minimum(half, np.array([NEAR / 2, (1 - FAR) / 2, (1 - FAR) / 2]) * size)
    grow = half / np.maximum(layout.half_width, layout.half_height)
    low = np.array([0.0, FAR, FAR]) * size + half
    high = np.array([NEAR, 1.0, 1.0]) * size - half
    across = low + (high - low) * draws[..., 0]  # away from the sign's side
    # along that side: the sign anywhere, each thing in its own half
    low = np.array([0.0, 0.0, 0.5]) * size + half
    high = np.array([1.0, 0.5, 1.0]) * size - half
    along = low + (high - low) * draws[..., 1]
    across = np.where((side_of % 2 == 1)[:, None], size - across, across)
    upright = (side_of < 2)[:, None]
    return replace(
        layout,
        x=np.where(upright, across, along),
        y=np.where(upright, along, across),
        side=layout.side * grow,
        half_width=layout.half_width * grow,
        half_height=layout.half_height * grow,
    )
