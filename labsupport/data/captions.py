"""Captions from what is drawn: articles, and how the first two objects lie to one another."""

from __future__ import annotations

import numpy as np

# Said with a consonant although written with a vowel.
_CONSONANT_SOUND = ("unicorn", "ukulele", "one-piece")
_VOWEL_SOUND = ("hourglass", "x-ray", "sos")
# Plural or uncountable names, which take no article.
_NO_ARTICLE = frozenset(
    "grapes cherries blueberries peanuts beans fries bacon butter bread broccoli garlic pancakes "
    "popcorn spaghetti sushi glasses sunglasses goggles jeans socks gloves shorts briefs scissors "
    "headphones maracas chopsticks ballet shoes books eyes fireworks sparkles footprints bubbles "
    "soap yarn chains".split()
)


def with_article(name: str) -> str:
    """The name with "a" or "an", or alone if it is plural or uncountable."""
    if name in _NO_ARTICLE:
        return name
    vowel = name.startswith(("a", "e", "i", "o", "u", *_VOWEL_SOUND))
    return f"{'an' if vowel and not name.startswith(_CONSONANT_SOUND) else 'a'} {name}"


def relation(x_first: float, y_first: float, x_second: float, y_second: float) -> str:
    """How the first point lies to the second, along the axis on which they differ more."""
    dx, dy = x_first - x_second, y_first - y_second
    if abs(dx) >= abs(dy):
        return "left of" if dx < 0 else "right of"
    return "above" if dy < 0 else "below"


def scene_caption(names: list[str], x: np.ndarray, y: np.ndarray) -> str:
    """A sentence on the objects, such as "an apple left of a car, and a dog".

    Args:
        names: of the objects, at least one.
        x, y: their centres in pixels, from the image's top left corner.
    """
    things = [with_article(name) for name in names]
    if len(things) == 1:
        return things[0]
    start = f"{things[0]} {relation(x[0], y[0], x[1], y[1])} {things[1]}"
    rest = things[2:]
    if not rest:
        return start
    return ", ".join([start, *rest[:-1], f"and {rest[-1]}"])
