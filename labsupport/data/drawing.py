"""Drawings: what singles() and scenes() have in common, from labels and geometry to a Batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from . import arguments as check
from .backgrounds import BACKGROUNDS, BackgroundPainter
from .batch import Batch
from .concepts import concept_names
from .layout import Layout, make_layout
from .render import composite, sprite_bank
from .splits import check_split, stream

_CHUNK = 256  # images drawn at a time: bounds the memory for patches, changes no result
MAX_IMAGES = 1_000_000
SIZES = (8, 512)
SCALES = (0.05, 1.0)
MAX_ROTATION = 3.1416


@dataclass(frozen=True)
class Look:
    """What images are to look like, whatever is in them; the arguments of singles(), checked."""

    size: int
    classes: tuple[str, ...]
    styles: tuple[str, ...]
    background: str
    split: str
    seed: int
    scale: tuple[float, float]
    rotation: float
    flip: bool


def look_of(
    n: int,
    size: int,
    concepts: int | Sequence[str],
    style: str | Sequence[str],
    background: str,
    split: str,
    seed: int,
    scale: tuple[float, float],
    rotation: float,
    flip: bool,
) -> Look:
    """The `Look` of n images that the arguments of singles() mean.

    Raises ValueError for a bad argument; the message names it and what is allowed.
    """
    check.whole("n", n, 1, MAX_IMAGES)
    check.whole("size", size, *SIZES)
    styles = check.style_names(style)
    check_split(split)
    check.one_of("background", background, BACKGROUNDS)
    scale = check.span("scale", scale, *SCALES)
    check.number("rotation", rotation, 0.0, MAX_ROTATION)
    classes = concept_names(concepts)
    return Look(size, classes, styles, background, split, seed, scale, rotation, flip)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside, and as many as before afterwards.

    Rendering is many small steps. Sharing them out gains little, and on a machine that is busy
    with other work the threads' waiting for one another made it twenty times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def draw(
    labels: np.ndarray,
    look: Look,
    *,
    centred: bool,
    place: Callable[[Layout], Layout] | None = None,
    avoid: np.ndarray | None = None,
) -> tuple[Batch, Layout]:
    """Render objects with the given labels; the captions are left empty.

    Args:
        labels: int (n, m), indices into the look's classes, padded with -1.
        centred: each object in the middle of the image.
        place: moves the objects of a finished layout elsewhere; they must stay in the image.
        avoid: int (n, k), the classes whose colours the background keeps away from; by default
            those of the labels.
    """
    n, present = len(labels), labels >= 0
    size, seed, split = look.size, look.seed, look.split
    bank = sprite_bank(look.classes, look.styles)
    known = np.where(present, labels, 0)
    layout = make_layout(
        bank.aspect[known],
        present,
        size,
        seed=seed,
        split=split,
        scale=look.scale,
        rotation=look.rotation,
        flip=look.flip,
        centred=centred,
    )
    layout = place(layout) if place else layout
    shown = labels if avoid is None else avoid
    colours = np.where((shown >= 0)[..., None, None], bank.colours[np.maximum(shown, 0)], np.nan)
    painter = BackgroundPainter(look.background, size, colours.reshape(n, -1, 3), seed, split)
    style_of = (len(look.styles) * stream(seed, split, "style").random(n)).astype(int)
    sprite = style_of[:, None] * len(look.classes) + known  # row in the bank

    images = torch.empty(n, 3, size, size)
    instance_map = torch.empty(n, size, size, dtype=torch.uint8)
    area = np.empty(present.shape, dtype=np.int64)
    for start in range(0, n, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n))
        canvas = painter.paint(rows.stop - start)
        part = Layout(**{name: value[rows] for name, value in vars(layout).items()})
        instance_map[rows], area[rows] = composite(canvas, bank, sprite[rows], part)
        images[rows] = canvas.clamp_(0, 1)

    boxes, seen = visible_boxes(instance_map, present.shape[1])
    visible = seen.numpy() / np.maximum(area, 1)
    batch = Batch(
        images=images,
        captions=[""] * n,
        labels=torch.from_numpy(labels),
        classes=look.classes,
        instance_map=instance_map,
        boxes=boxes,
        visible=torch.from_numpy(visible).float(),
        styles=[look.styles[s] for s in style_of.tolist()],
        seed=seed,
    )
    return batch, layout


def visible_boxes(instance_map: torch.Tensor, objects: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes float32 (n, objects, 4), -1 where nothing is seen, and pixel counts (n, objects)."""
    n, size, _ = instance_map.shape
    boxes, counts = torch.full((n, objects, 4), -1.0), torch.zeros(n, objects, dtype=torch.long)
    for j in range(objects):
        mask = instance_map == j + 1
        counts[:, j] = mask.sum(dim=(1, 2))
        columns, rows = mask.any(dim=1).byte(), mask.any(dim=2).byte()  # (n, size) each
        edges = torch.stack(
            [
                columns.argmax(dim=1),
                rows.argmax(dim=1),
                size - columns.flip(1).argmax(dim=1),
                size - rows.flip(1).argmax(dim=1),
            ],
            dim=1,
        )
        seen = counts[:, j] > 0
        boxes[seen, j] = edges[seen].float()
    return boxes, counts
