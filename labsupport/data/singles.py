"""Images of one object each: a classification data set without end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from . import arguments as check
from .batch import Batch
from .captions import with_article
from .drawing import draw, look_of
from .splits import stream

PLACES = ("random", "centre")


def singles(
    n: int,
    size: int = 32,
    *,
    concepts: int | Sequence[str] = 40,
    style: str | Sequence[str] = "noto",
    split: str = "all",
    seed: int = 0,
    place: str = "random",
    background: str = "calm",
    scale: tuple[float, float] = (0.5, 1.0),
    rotation: float = 0.35,
    flip: bool = True,
    labels: Sequence[int] | torch.Tensor | None = None,
) -> Batch:
    """n images of one object each, with class labels, masks and boxes.

    The same arguments give the same images; the first m of n images do not depend on n; another
    `style` gives the same labels and geometry drawn in that style. Global random numbers are
    neither used nor changed.

    Args:
        n: number of images.
        size: side of the images in pixels; sprites are stored at 64 pixels.
        concepts: k for the first k of CONCEPTS, or a list of concept names.
        style: "noto" or "twemoji", or both: then each image draws one.
        split: "train", "test" or "all": the same concepts, renderings that never coincide.
        place: "random" or "centre"; the whole object is inside the image in either case.
        background: "calm", "plain" or "white".
        scale: smallest and largest longest side of the object, as shares of `size`.
        rotation: largest rotation in radians, either way.
        flip: mirror half of the images.
        labels: the class of each image; by default every k consecutive images hold every class
            once, in random order.

    Returns:
        Batch: images (n, 3, size, size), labels (n,), boxes (n, 1, 4).

    Raises:
        ValueError: a bad argument; the message names it and what is allowed.
    """
    check.one_of("place", place, PLACES)
    look = look_of(n, size, concepts, style, background, split, seed, scale, rotation, flip)
    if labels is None:
        chosen = _balanced_labels(n, len(look.classes), seed, split)
    else:
        chosen = _given_labels(labels, n, len(look.classes))

    batch, _ = draw(chosen[:, None], look, centred=place == "centre")
    captions = [with_article(look.classes[label]) for label in chosen.tolist()]
    return replace(batch, labels=torch.from_numpy(chosen), captions=captions)


def _balanced_labels(n: int, k: int, seed: int, split: str) -> np.ndarray:
    """Labels (n,): one random permutation of the k classes after another."""
    rounds = -(-n // k)
    order = stream(seed, split, "label").random((rounds, k)).argsort(axis=1)
    return order.reshape(-1)[:n]


def _given_labels(labels: Sequence[int] | torch.Tensor, n: int, k: int) -> np.ndarray:
    chosen = labels.numpy() if isinstance(labels, torch.Tensor) else np.array(labels)
    good = chosen.shape == (n,) and np.issubdtype(chosen.dtype, np.integer)
    if not good or chosen.min() < 0 or chosen.max() >= k:
        raise ValueError(
            f"labels must be {n} whole numbers (one for each of the n images) from 0 to {k - 1}"
        )
    return chosen.astype(np.int64)
