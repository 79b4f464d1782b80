"""Scenes in which a click is ambiguous: things that carry things that carry things.

A whole is an emoji with smaller ones on it, its parts, and a part may carry one more. Whoever
clicks on that one may mean it, or the part, or all of the whole. Wholes overlap, and there may be
several of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from . import arguments as check
from .backgrounds import BackgroundPainter
from .drawing import look_of, one_thread
from .layout import Layout, make_layout
from .nesting import (
    LEVELS,
    MAX_WHOLES,
    NODES,
    PARENTS,
    WITHIN,
    carrying_spots,
    choose_labels,
    draw_order,
    nested,
)
from .render import composite, sprite_bank
from .splits import stream

CHUNK = 256  # images drawn at a time: bounds the memory, changes no result
LEAST = 0.003  # a node is seen if so much of the image is its own: 12 pixels of 64 x 64


@dataclass(frozen=True, eq=False)
class ClickScenes:
    """n scenes of nested things; a node is a whole, a part, or a part of a part.

    Nodes have the same numbers in all scenes: `PARENTS` says which node each is on (-1: a whole),
    `LEVELS` how deep it is (0, 1, 2). The mask of a node is what is seen of it and of all that it
    carries.

    Attributes:
        images: float32 (n, 3, size, size) in [0, 1].
        labels: int64 (n, nodes), -1 where there is no such node.
        classes: the name of each label.
        instance_map: uint8 (n, size, size); 0 is background, j + 1 where node j is foremost.
        seen: bool (n, nodes), nodes of which enough is visible, what they carry not counted; the
            others are too well hidden to be meant.
        visible: float32 (n, nodes), the share of each that nothing covers, not even its parts.
        styles: the drawing style of each image.
        seed: the seed the scenes were drawn with.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    instance_map: torch.Tensor
    seen: torch.Tensor
    visible: torch.Tensor
    styles: list[str]
    seed: int

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int | slice | Sequence[int] | torch.Tensor) -> ClickScenes:
        """The chosen scenes; a single number gives one scene."""
        rows = torch.arange(len(self))[index].reshape(-1)
        parts: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in parts.items():
            if isinstance(value, torch.Tensor):
                parts[name] = value[rows]
            elif isinstance(value, list):
                parts[name] = [value[row] for row in rows.tolist()]
        return ClickScenes(**parts)

    def masks(self, image: torch.Tensor, node: torch.Tensor) -> torch.Tensor:
        """Masks bool (k, size, size) of nodes (k,), each in the image (k,) of that number."""
        inside = torch.nn.functional.pad(WITHIN[node], (1, 0))  # (k, nodes + 1), first: background
        maps = self.instance_map[image].flatten(1).long()
        return inside.gather(1, maps).view(-1, *self.instance_map.shape[1:])


@one_thread()
def click_scenes(
    n: int,
    size: int = 64,
    *,
    wholes: int | tuple[int, int] = (1, 3),
    concepts: int | Sequence[str] = 40,
    style: str | Sequence[str] = "noto",
    split: str = "all",
    seed: int = 0,
    background: str = "calm",
    scale: tuple[float, float] = (0.45, 0.7),
    rotation: float = 0.35,
    flip: bool = True,
) -> ClickScenes:
    """n scenes of wholes with parts and parts of parts.

    Repeatable as singles() is; another `style` gives the same things in the same places. A thing
    differs in colour from what it is on; thin ones, such as an anchor, carry nothing. Every third
    whole after the first, and every second of two parts, is of the kind of the one before it.

    Args:
        n: number of images.
        size: side of the images in pixels.
        wholes: how many in a scene: a number, or (fewest, most), each equally likely.
        concepts, style, split, background, rotation, flip: as in singles(). For things never seen
            in training give one half of held_out() to train and the other to test.
        scale: smallest and largest longest side of a whole without its parts, as shares of `size`.

    Raises:
        ValueError: a bad argument; the message names it and what is allowed.
    """
    fewest, most = (wholes, wholes) if isinstance(wholes, int) else wholes
    check.whole("wholes", fewest, 1, MAX_WHOLES)
    check.whole("wholes", most, fewest, MAX_WHOLES)
    look = look_of(n, size, concepts, style, background, split, seed, scale, rotation, flip)
    if len(look.classes) < 2:
        raise ValueError(
            f"concepts has {len(look.classes)} name, but a part differs from its whole"
        )
    bank = sprite_bank(look.classes, look.styles)
    carries = [len(carrying_spots(look.classes, k)) > 0 for k in range(len(look.classes))]
    labels = choose_labels(n, (fewest, most), bank.colours, np.array(carries), seed, split)
    known = np.maximum(labels, 0)
    layout = make_layout(
        bank.aspect[known],
        labels >= 0,
        size,
        scale=look.scale,
        rotation=rotation,
        flip=flip,
        centred=False,
        seed=seed,
        split=split,
    )
    layout = nested(layout, known, look.classes, size, seed, split)
    order = draw_order(layout)

    colours = np.where((labels >= 0)[..., None, None], bank.colours[known], np.nan)
    whole_colours = colours[:, LEVELS.numpy() == 0].reshape(n, -1, 3)
    painter = BackgroundPainter(look.background, size, whole_colours, seed, split)
    style_of = (len(look.styles) * stream(seed, split, "style").random(n)).astype(int)
    sprite = style_of[:, None] * len(look.classes) + known

    images = torch.empty(n, 3, size, size)
    instance_map = torch.empty(n, size, size, dtype=torch.uint8)
    area = np.empty(labels.shape, dtype=np.int64)
    for start in range(0, n, CHUNK):
        rows = slice(start, min(start + CHUNK, n))
        canvas = painter.paint(rows.stop - start)
        part = _Stacked(**{k: v[rows] for k, v in vars(layout).items()}, order=order[rows])
        instance_map[rows], area[rows] = composite(canvas, bank, sprite[rows], part)
        images[rows] = canvas.clamp_(0, 1)

    own = torch.zeros(n, NODES + 1).scatter_add_(
        1, instance_map.flatten(1).long(), torch.ones(n, size * size)
    )[:, 1:]
    return ClickScenes(
        images=images,
        labels=torch.from_numpy(labels),
        classes=look.classes,
        instance_map=instance_map,
        seen=own >= LEAST * size**2,
        visible=own / torch.from_numpy(np.maximum(area, 1)),
        styles=[look.styles[s] for s in style_of.tolist()],
        seed=seed,
    )


@dataclass(frozen=True)
class _Stacked(Layout):
    """A layout with an order of its own: a part before what covers its whole, however small."""

    order: np.ndarray

    @property
    def depth_order(self) -> np.ndarray:
        return self.order


__all__ = ["LEVELS", "PARENTS", "ClickScenes", "click_scenes"]
