"""Images of several objects with captions, masks and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from . import arguments as check
from .batch import Batch
from .captions import scene_caption
from .drawing import draw, look_of
from .splits import stream


def scenes(
    n: int,
    size: int = 64,
    *,
    objects: int | tuple[int, int] = (1, 3),
    concepts: int | Sequence[str] = 40,
    style: str | Sequence[str] = "noto",
    split: str = "all",
    seed: int = 0,
    background: str = "calm",
    scale: tuple[float, float] = (0.3, 0.6),
    rotation: float = 0.35,
    flip: bool = True,
    labels: Sequence[Sequence[int]] | torch.Tensor | None = None,
) -> Batch:
    """n images of several different objects each, with captions.

    The objects of a scene are all of different classes and inside the image; they may overlap
    (`visible` says how much is seen), the smaller one in front. The caption names them in the
    order of the labels and says how the first lies to the second. Repeatable as singles() is.

    Args:
        n: number of images.
        size: side of the images in pixels.
        objects: how many in a scene: a number, or (fewest, most), each equally likely.
        concepts, style, split, background, rotation, flip: as in singles().
        scale: smallest and largest longest side of an object, as shares of `size`.
        labels: (n, max_objects) classes, padded with -1 at the end; replaces the random choice,
            and then `objects` is not used.

    Returns:
        Batch: images (n, 3, size, size), labels (n, max_objects), boxes (n, max_objects, 4).

    Raises:
        ValueError: a bad argument; the message names it and what is allowed.
    """
    counts = check.object_counts(objects)
    look = look_of(n, size, concepts, style, background, split, seed, scale, rotation, flip)
    classes = look.classes
    if labels is not None:
        chosen = _given_labels(labels, n, len(classes))
    elif counts[1] > len(classes):
        raise ValueError(
            f"objects is {objects!r}, but a scene shows a concept once and there are only "
            f"{len(classes)} concepts"
        )
    else:
        chosen = _random_labels(n, counts, len(classes), seed, split)

    batch, layout = draw(chosen, look, centred=False)
    captions = [
        scene_caption([classes[label] for label in row if label >= 0], x, y)
        for row, x, y in zip(chosen.tolist(), layout.x, layout.y, strict=True)
    ]
    return replace(batch, captions=captions)


def _random_labels(n: int, counts: tuple[int, int], k: int, seed: int, split: str) -> np.ndarray:
    """Labels (n, most) of different classes, padded with -1."""
    fewest, most = counts
    chosen = stream(seed, split, "label").random((n, k)).argsort(axis=1)[:, :most]
    draws = stream(seed, split, "objects").random(n)
    number = fewest + (draws * (most - fewest + 1)).astype(int)
    return np.where(np.arange(most) < number[:, None], chosen, -1)


def _given_labels(labels: Sequence[Sequence[int]] | torch.Tensor, n: int, k: int) -> np.ndarray:
    chosen = np.array(labels)
    good = chosen.ndim == 2 and len(chosen) == n and np.issubdtype(chosen.dtype, np.integer)
    good = good and 1 <= chosen.shape[1] <= check.MAX_OBJECTS
    if not good or chosen.min() < -1 or chosen.max() >= k or (chosen[:, 0] < 0).any():
        raise ValueError(
            f"labels must be {n} rows of at most {check.MAX_OBJECTS} whole numbers from 0 to "
            f"{k - 1}, each row with at least one and padded with -1 at the end"
        )
    present = chosen >= 0
    if (present[:, 1:] & ~present[:, :-1]).any():
        raise ValueError("labels must have their padding of -1 at the end of each row")
    for row in chosen.tolist():
        shown = [label for label in row if label >= 0]
        if len(set(shown)) < len(shown):
            raise ValueError(f"labels must be different within a row, but one is {row}")
    return chosen.astype(np.int64)
