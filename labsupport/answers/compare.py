"""Comparison of an answer with the expected one: what differs, never what was expected.

How near is near enough, and what an answer may be stored in, is the same for every exercise and
said to students (`course/contract.md`): any floating dtype will do for numbers with a fraction, any
integer dtype for whole ones, a list for a tuple, None for a gradient that is zero.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from labsupport.answers.seen import seen
from labsupport.answers.tolerance import Tolerance

WHOLE = "the result"  # what an answer is called that is no part of another


@dataclass(frozen=True)
class Difference:
    """The first difference between an answer and the expected one: ``text`` says what differs;
    ``answer`` and ``expected`` are the two parts whose values do, None where ``text`` says all
    (a shape, a missing name). The last is never told to who is graded."""

    text: str
    answer: Any = None
    expected: Any = None
    near: tuple[float, float] = (0.0, 0.0)  # rtol and atol

    @property
    def of_form(self) -> bool:
        """Whether ``text`` says all that there is to say."""
        return self.answer is None and self.expected is None

    def how(self) -> str:
        """How the two differ, where that is simple to say, else ""."""
        if not isinstance(self.answer, torch.Tensor) or self.answer.is_complex():
            return ""
        return seen(self.answer, self.expected, *self.near)


def difference(answer: Any, expected: Any, tolerance: Tolerance) -> str | None:
    """None where the two are equal within tolerance, else one sentence about the first difference.

    Shapes, types and names are part of an exercise's statement, so they are named; values are not.
    """
    found = compare(answer, expected, tolerance)
    return found.text if found else None


def compare(answer: Any, expected: Any, tolerance: Tolerance, where: str = "") -> Difference | None:
    """The first difference, None where the two are equal within tolerance. ``where`` is what the
    answer is a part of."""
    place = where or WHOLE
    if answer is None and expected is not None:
        if "gradient" in where:
            if isinstance(expected, torch.Tensor) and not expected.any():
                return None  # PyTorch's own way of saying that nothing flows there
            return Difference(f"{where} is None: no gradient arrives there")
        missing = "nothing was returned: is a return missing?"
        return Difference(f"{where} is None" if where else missing)
    if isinstance(expected, torch.Tensor):
        return _tensors(answer, expected, tolerance, place)
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return _words(answer, expected, place)
    if isinstance(expected, int | float):
        return _numbers(answer, expected, tolerance, place)
    if isinstance(expected, list | tuple):
        return _sequences(answer, expected, tolerance, where)
    if isinstance(expected, dict):
        return _dicts(answer, expected, tolerance, where)
    raise TypeError(f"a judge's expected answer holds a {type(expected).__name__}")


def _tensors(
    answer: Any, expected: torch.Tensor, tolerance: Tolerance, place: str
) -> Difference | None:
    if not isinstance(answer, torch.Tensor):
        return Difference(f"{place} is {_kind(answer)}, not a tensor")
    if answer.shape != expected.shape:
        return Difference(
            f"{place} has shape {tuple(answer.shape)} instead of {tuple(expected.shape)}"
        )
    exact = tolerance.float64 is not None and expected.dtype == torch.float64
    if _family(answer.dtype) != _family(expected.dtype) or (
        exact and answer.dtype != expected.dtype
    ):
        return Difference(f"{place} is {_short(answer.dtype)} instead of {_short(expected.dtype)}")
    if _family(expected.dtype) in ("whole", "bool"):
        if torch.equal(answer.to(expected.dtype), expected):
            return None
        return _differ(place, answer, expected, 0, 0)
    if answer.isnan().any() and not expected.isnan().any():
        share = answer.isnan().float().mean().item()
        return Difference(f"{place} holds NaN ({share:.0%} of its values)")
    if answer.isinf().any() and not expected.isinf().any():
        share = answer.isinf().float().mean().item()
        return Difference(f"{place} holds infinite values ({share:.0%} of them)")
    rtol, atol = tolerance.rtol, tolerance.atol
    if tolerance.float64 is not None and expected.dtype in (torch.float64, torch.complex128):
        rtol = atol = tolerance.float64
    wide = torch.complex128 if expected.is_complex() else torch.float64
    one, other = answer.to(wide), expected.to(wide)
    if torch.allclose(one, other, rtol=rtol, atol=atol, equal_nan=True):
        return None
    return _differ(place, one, other, rtol, atol)


def _differ(
    place: str, answer: torch.Tensor, expected: torch.Tensor, rtol: float, atol: float
) -> Difference:
    plain = place in ("value", "values") or place.startswith("item ")
    text = f"{place} differs" if plain else f"the values of {place} differ"
    return Difference(text, answer, expected, (rtol, atol))


def _family(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "bool"
    if dtype.is_complex:
        return "complex"
    return "fraction" if dtype.is_floating_point else "whole"


def _words(answer: Any, expected: bool | str | None, place: str) -> Difference | None:
    if type(answer) is type(expected):
        if answer == expected:
            return None
        if isinstance(expected, bool) and place != WHOLE:  # a claim: its name says what should be
            return Difference(f"{'not true' if expected else 'true, and should not be'}: {place}")
        return Difference(f"{place} differs", answer, expected)
    wanted = {bool: "True or False", str: "a string"}.get(type(expected), "None")
    return Difference(f"{place} is {_kind(answer)}, not {wanted}")


def _numbers(answer: Any, expected: float, tolerance: Tolerance, place: str) -> Difference | None:
    if isinstance(answer, torch.Tensor) and answer.ndim == 0:
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return Difference(f"{place} is {_kind(answer)}, not a number")
    plain = place == "value" or place.startswith("item ")
    text = f"{place} differs" if plain else f"the value of {place} differs"
    other = Difference(text, answer, expected)
    if isinstance(expected, int) and isinstance(answer, int):
        return None if answer == expected else other
    try:
        answer = float(answer)
    except OverflowError:  # an integer of some hundred digits
        return Difference(f"{place} is too large for a number")
    if math.isnan(answer) or math.isnan(expected):
        if math.isnan(answer) and math.isnan(expected):
            return None
        return Difference(f"{place} is NaN" if math.isnan(answer) else f"{place} is no NaN")
    if math.isinf(answer) and not math.isinf(expected):
        return Difference(f"{place} is infinite")
    if isinstance(expected, int):
        return None if answer == expected else other
    relative = tolerance.rtol * (0 if math.isinf(expected) else abs(expected))
    close = math.isclose(answer, expected, rel_tol=0, abs_tol=tolerance.atol + relative)
    return None if close else other


def _sequences(answer: Any, expected: Any, tolerance: Tolerance, where: str) -> Difference | None:
    if not isinstance(answer, list | tuple):
        return Difference(f"{where or WHOLE} is {_kind(answer)}, not {len(expected)} values")
    if len(answer) != len(expected):
        return Difference(f"{where or WHOLE} has {len(answer)} values instead of {len(expected)}")
    for i, (one, other) in enumerate(zip(answer, expected, strict=True)):
        found = compare(one, other, tolerance, f"item {i + 1} of {where or WHOLE}")
        if found:
            return found
    return None


def _dicts(answer: Any, expected: dict, tolerance: Tolerance, where: str) -> Difference | None:
    if not isinstance(answer, dict):
        return Difference(f"{where or WHOLE} is {_kind(answer)}, not a dict")
    missing = [k for k in expected if k not in answer]
    extra = [k for k in answer if k not in expected]
    if missing or extra:
        said = [f"missing from {where or WHOLE}: {', '.join(missing)}"] if missing else []
        said += [f"unknown in {where or WHOLE}: {', '.join(extra)}"] if extra else []
        return Difference("; ".join(said))
    for key in expected:
        found = compare(
            answer[key], expected[key], tolerance, f"{key} in {where}" if where else key
        )
        if found:
            return found
    return None


def _kind(answer: Any) -> str:
    """What an answer of the wrong type is."""
    if isinstance(answer, torch.Tensor):
        return f"a tensor of shape {tuple(answer.shape)}"
    if isinstance(answer, list | tuple):
        return f"a {type(answer).__name__} of {len(answer)}"
    kind = type(answer).__name__
    return "None" if answer is None else f"an {kind}" if kind == "int" else f"a {kind}"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def contents(answer: Any, expected: Any) -> str | None:
    """Whether an answer can be handed to a judge's own ``accept``: None, or what is wrong.

    A tensor without values may claim any size, and operations on it would make it true.
    """
    most = max([1024, *(max(t.shape, default=0) for t in _all_tensors(expected))])
    for tensor in _all_tensors(answer):
        if tensor.numel() == 0 and max(tensor.shape, default=0) > most:
            return f"the result holds an empty tensor of shape {tuple(tensor.shape)}"
    return None


def _all_tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _all_tensors(item)]
    return [value] if isinstance(value, torch.Tensor) else []
