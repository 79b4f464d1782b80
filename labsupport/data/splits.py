"""Training and held-out parts: by rendering, by concept, by drawing style; random streams."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from .arguments import number, one_of, whole
from .concepts import concept_names
from .emoji import STYLES

SPLITS = ("train", "test", "all")


def stream(seed: int, split: str, purpose: str) -> np.random.Generator:
    """An independent stream of random numbers for one purpose, such as "position".

    Every image takes the same count of numbers from it, in order, so that the first m of n images
    are the same whatever n is. NumPy's and torch's global generators are not touched.
    """
    key = [whole("seed", seed, 0, 2**63 - 1), SPLITS.index(split), zlib.crc32(purpose.encode())]
    return np.random.default_rng(key)


def check_split(split: str) -> str:
    """Refuse an unknown split by rendering.

    "train", "test" and "all" hold the same concepts but come from different random streams, so
    that no rendering occurs in two of them.
    """
    return one_of("split", split, SPLITS)


def held_out(
    concepts: int | Sequence[str] = 40, fraction: float = 0.2, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split by concept: (names to train on, names held out).

    The two do not overlap, together are all of `concepts`, and keep its order. `fraction` of the
    concepts, rounded to a whole number and at least one, are held out.

    Raises:
        ValueError: a bad argument, or fewer than two concepts.
    """
    names = concept_names(concepts)
    number("fraction", fraction, 0.0, 1.0)
    if len(names) < 2:
        raise ValueError(f"concepts has {len(names)} name, but a split needs at least 2")
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    order = stream(seed, "all", "held out").permutation(len(names))
    out = set(order[:count].tolist())
    kept = tuple(name for i, name in enumerate(names) if i not in out)
    return kept, tuple(name for i, name in enumerate(names) if i in out)


def held_out_style(style: str = "noto") -> tuple[str, str]:
    """Split by drawing style: (style to train on, style held out)."""
    one_of("style", style, STYLES)
    return style, next(other for other in STYLES if other != style)
