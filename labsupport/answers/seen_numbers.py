"""Wrong numbers in words: how they relate to the right ones, over all cases of an exercise.

A single number says little; the same relation in several cases does. No right number is told.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

NEAR = 1e-6  # relative; two factors or amounts this near are the same


def as_number(value: Any) -> float | None:
    """A number, or a tensor of one, as a float; None for anything else and for what is not
    finite."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1 or value.is_complex() or value.dtype == torch.bool:
            return None
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def seen_in_numbers(pairs: Sequence[tuple[float, float]]) -> str:
    """What is to be seen of wrong numbers, given as (answer, expected) of each wrong case."""
    gaps = [answer - expected for answer, expected in pairs]
    if all(gap > 0 for gap in gaps):
        found = "too large"
    elif all(gap < 0 for gap in gaps):
        found = "too small"
    else:
        return "too large in some cases and too small in others"
    if len(pairs) < 2 or len(set(pairs)) < 2:
        return f"it is {found}"
    factors = [answer / expected for answer, expected in pairs if expected]
    if _same(gaps):
        found += ", always by the same amount"
    elif len(factors) == len(pairs) and _same(factors):
        found += ", always by the same factor"
    return f"it is {found}"


def _same(values: Sequence[float]) -> bool:
    return all(math.isclose(value, values[0], rel_tol=NEAR) for value in values)
