"""Arguments of the data functions, and checks of them; every error is one line."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from .emoji import STYLES

MAX_OBJECTS = 12


def whole(name: str, value: int, low: int, high: int) -> int:
    """An integer in [low, high]."""
    integral = hasattr(value, "__index__") and not isinstance(value, bool)
    if not integral or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}, but must be a whole number from {low} to {high}")
    return int(value)


def number(name: str, value: float, low: float, high: float) -> float:
    """A number in [low, high]."""
    if not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}, but must be a number from {low} to {high}")
    return float(value)


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """One of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, but must be one of: {', '.join(allowed)}")
    return value


def span(name: str, value: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    """A pair (smallest, largest) of numbers in [low, high]."""
    try:
        smallest, largest = (float(v) for v in value)
    except (TypeError, ValueError):
        smallest, largest = 1.0, 0.0  # refused below
    if not low <= smallest <= largest <= high:
        raise ValueError(
            f"{name} is {value!r}, but must be a pair (smallest, largest) within {low} to {high}"
        )
    return smallest, largest


def object_counts(value: int | tuple[int, int]) -> tuple[int, int]:
    """The smallest and the largest number of objects in a scene."""
    pair = (value, value) if isinstance(value, int) else value
    try:
        fewest, most = (int(v) for v in pair)
    except (TypeError, ValueError):
        fewest, most = 1, 0  # refused below
    if not 1 <= fewest <= most <= MAX_OBJECTS:
        raise ValueError(
            f"objects is {value!r}, but must be a whole number or a pair (fewest, most) "
            f"from 1 to {MAX_OBJECTS}"
        )
    return fewest, most


def style_names(style: str | Sequence[str]) -> tuple[str, ...]:
    """One style, or several of which each image takes one."""
    names = (style,) if isinstance(style, str) else tuple(style)
    if not names or any(name not in STYLES for name in names) or len(set(names)) < len(names):
        raise ValueError(f"style is {style!r}, but must be one of: {', '.join(STYLES)} (or both)")
    return names


def equally_many(**given: Sized) -> None:
    """Things that belong together, such as images and their labels: at least one of each."""
    (name, first), *others = given.items()
    for other, values in others:
        if len(first) != len(values) or len(first) == 0:
            raise ValueError(
                f"{name} has {len(first)} entries and {other} {len(values)}; they must "
                "be equally many, and at least one"
            )
