"""The fixed list of default concepts, and how the argument `concepts` is read."""

from __future__ import annotations

from collections.abc import Sequence

from .emoji import load_emoji

# Well-known things with single names, recognisable in both drawing styles at 16 pixels, and
# different from one another in outline or colour. The order is fixed: the first k are used.
CONCEPTS = (
    "cat", "apple", "car", "tree", "guitar", "frog", "umbrella", "rocket", "pizza", "butterfly",
    "key", "panda", "sunflower", "bicycle", "mushroom", "fish", "robot", "carrot", "book", "house",
    "dog", "banana", "airplane", "cactus", "penguin", "hamburger", "sailboat", "star", "turtle",
    "strawberry", "anchor", "crown", "octopus", "doughnut", "heart", "camera", "elephant",
    "pineapple", "drum", "bee",
)  # fmt: skip


def concept_names(concepts: int | Sequence[str]) -> tuple[str, ...]:
    """The names meant by `concepts`: the first k of CONCEPTS, or the given names.

    Raises:
        ValueError: k out of range, an unknown name, or a name given twice.
    """
    if isinstance(concepts, int) and not isinstance(concepts, bool):
        if not 1 <= concepts <= len(CONCEPTS):
            raise ValueError(
                f"concepts is {concepts}, but must be between 1 and {len(CONCEPTS)}, "
                "or a list of concept names"
            )
        return CONCEPTS[:concepts]
    if isinstance(concepts, (str, bool)) or not isinstance(concepts, Sequence) or not concepts:
        raise ValueError(
            f"concepts must be a number from 1 to {len(CONCEPTS)} or a non-empty list of concept "
            f"names, not {concepts!r}"
        )
    pack = load_emoji()
    names = tuple(pack.names[pack.find(name)] for name in concepts)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"concepts must be different, but {twice[0]!r} is given more than once")
    return names
