"""Figures in words: the sentences that a figure's numbers give."""

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any


def number(value: float) -> str:
    """A number in three digits: 1,234 · 12.3 · 0.0456; "no value" for NaN."""
    value = float(value)
    if not math.isfinite(value):
        return "no value" if math.isnan(value) else "infinity"
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 1e4 else f"{value:,.0f}"
    return f"{value:.3g}"


def listed(names: Iterable[Any]) -> str:
    """Names as a sentence has them: "a, b and c"."""
    said = [" ".join(str(name).split()) for name in names]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}" if said else ""


def counted(many: int, thing: str) -> str:
    """ "1 image", "3 images"."""
    return f"{many:,} {thing}{'' if many == 1 else 's'}"


def entitled(title: str, words: str) -> str:
    """A figure's title and what it shows, as sentences of one line."""
    first, words = " ".join(title.split()), " ".join(words.split())
    if not first or words.startswith(first):
        return words
    return f"{first}{'' if first[-1] in '.?' else '.'} {words}"


def course(x: Sequence[float], y: Sequence[float], unit: str = "") -> str:
    """How a curve goes: "rises from 0.2 at 8 to 0.9 at 64, then falls to 0.5 at 512"."""
    pairs = [(float(a), float(b)) for a, b in zip(x, y) if math.isfinite(float(b))]
    if not pairs:
        return "has no value"
    if len(pairs) == 1:
        return f"is {number(pairs[0][1])}{unit} at {number(pairs[0][0])}"

    def point(pair: tuple[float, float]) -> str:
        return f"{number(pair[1])}{unit} at {number(pair[0])}"

    first, last = pairs[0], pairs[-1]
    low, high = min(pairs, key=lambda p: p[1]), max(pairs, key=lambda p: p[1])
    span = high[1] - low[1]
    if span <= 0.02 * max(abs(high[1]), abs(low[1])):
        return f"stays near {number(last[1])}{unit} from {number(first[0])} to {number(last[0])}"
    told = f"goes from {point(first)} to {point(last)}"
    if last[1] != first[1]:
        told = told.replace("goes", "rises" if last[1] > first[1] else "falls", 1)
    inner = []
    if high[1] - max(first[1], last[1]) > 0.1 * span:
        inner.append(f"its highest {point(high)}")
    if min(first[1], last[1]) - low[1] > 0.1 * span:
        inner.append(f"its lowest {point(low)}")
    return f"{told}, with {listed(inner)}" if inner else told


def curves_in_words(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    unit: str = "",
) -> str:
    """What is on the axes, and how each of `curves` (label -> x and y) goes."""
    told = []
    if xlabel or ylabel:
        told.append(f"Up: {ylabel or 'the value'}; across: {xlabel or 'the number'}.")
    said = [
        f"{' '.join(label.split()) or 'it'} {course(*xy, unit)}" for label, xy in curves.items()
    ]
    lines = "; ".join(said)
    return " ".join([*told, f"{lines[:1].upper()}{lines[1:]}." if lines else ""]).strip()


def rows_of_images(rows: Mapping[str, Sized]) -> str:
    """What stands in rows of images: "2 rows of 8 images, from the top: visible and painted"."""
    lengths = {len(images) for images in rows.values()}
    of = counted(lengths.pop(), "image") if len(lengths) == 1 else "images"
    return f"{counted(len(rows), 'row')} of {of}, from the top: {listed(rows)}"
