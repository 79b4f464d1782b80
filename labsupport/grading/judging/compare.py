"""Comparison of an answer with what the solution gives: what differs, never what was expected."""

import math
from typing import Any

import torch

from labsupport.course.lab import Tolerance
from labsupport.grading.answers.plain_values import WHOLE


def difference(answer: Any, expected: Any, tolerance: Tolerance, where: str = "") -> str | None:
    """None where the two are equal within tolerance, else one sentence about the first difference.

    Shapes, types and names are part of an exercise's statement, so they are named; values are not.
    """
    place = where or WHOLE
    if answer is None and expected is not None:
        if "gradient" in where:
            return f"{where} is None: no gradient arrives there"
        return f"{where} is None" if where else "nothing was returned: is a return missing?"
    if isinstance(expected, torch.Tensor):
        return _tensor_difference(answer, expected, tolerance, place)
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return _word_difference(answer, expected, place)
    if isinstance(expected, int | float):
        return _number_difference(answer, expected, tolerance, place)
    if isinstance(expected, list | tuple):
        return _sequence_difference(answer, expected, tolerance, where)
    if isinstance(expected, dict):
        return _dict_difference(answer, expected, tolerance, where)
    raise TypeError(f"a judge's expected answer holds a {type(expected).__name__}")


def _tensor_difference(
    answer: Any, expected: torch.Tensor, tolerance: Tolerance, place: str
) -> str | None:
    if not isinstance(answer, torch.Tensor):
        return f"{place} is {_kind(answer)}, not a tensor"
    if answer.shape != expected.shape:
        return f"{place} has shape {tuple(answer.shape)} instead of {tuple(expected.shape)}"
    if answer.dtype != expected.dtype:
        return f"{place} is {_short(answer.dtype)} instead of {_short(expected.dtype)}"
    if not (expected.is_floating_point() or expected.is_complex()):
        return None if torch.equal(answer, expected) else f"the values of {place} differ"
    if answer.isnan().any() and not expected.isnan().any():
        share = answer.isnan().float().mean().item()
        return f"{place} holds NaN ({share:.0%} of its values)"
    if answer.isinf().any() and not expected.isinf().any():
        share = answer.isinf().float().mean().item()
        return f"{place} holds infinite values ({share:.0%} of them)"
    rtol, atol = tolerance.rtol, tolerance.atol
    if tolerance.float64 is not None and expected.dtype in (torch.float64, torch.complex128):
        rtol = atol = tolerance.float64
    if torch.allclose(answer, expected, rtol=rtol, atol=atol, equal_nan=True):
        return None
    return f"the values of {place} differ"


def _word_difference(answer: Any, expected: bool | str | None, place: str) -> str | None:
    if type(answer) is type(expected):
        if isinstance(expected, bool) and place != WHOLE:  # a claim: its name says what should be
            return None if answer == expected else f"it is {'not ' * expected}so: {place}"
        return None if answer == expected else f"{place} differs"
    wanted = {bool: "True or False", str: "a string"}.get(type(expected), "None")
    return f"{place} is {_kind(answer)}, not {wanted}"


def _number_difference(
    answer: Any, expected: float, tolerance: Tolerance, place: str
) -> str | None:
    if isinstance(answer, torch.Tensor) and answer.ndim == 0:
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return f"{place} is {_kind(answer)}, not a number"
    if isinstance(expected, int) and isinstance(answer, int):
        return None if answer == expected else _number_differs(place)
    try:
        answer = float(answer)
    except OverflowError:  # an integer of some hundred digits
        return f"{place} is too large for a number"
    if math.isnan(answer) or math.isnan(expected):
        same = math.isnan(answer) and math.isnan(expected)
        return None if same else f"{place} is NaN" if math.isnan(answer) else f"{place} is no NaN"
    if math.isinf(answer) and not math.isinf(expected):
        return f"{place} is infinite"
    if isinstance(expected, int):
        return None if answer == expected else _number_differs(place)
    relative = tolerance.rtol * (0 if math.isinf(expected) else abs(expected))
    close = math.isclose(answer, expected, rel_tol=0, abs_tol=tolerance.atol + relative)
    return None if close else _number_differs(place)


def _number_differs(place: str) -> str:
    return f"{place} differs" if place.startswith("value ") else f"the value of {place} differs"


def _sequence_difference(
    answer: Any, expected: Any, tolerance: Tolerance, where: str
) -> str | None:
    if not isinstance(answer, list | tuple):
        return f"{where or WHOLE} is {_kind(answer)}, not {len(expected)} values"
    if len(answer) != len(expected):
        return f"{where or WHOLE} has {len(answer)} values instead of {len(expected)}"
    for i, (one, other) in enumerate(zip(answer, expected, strict=True)):
        found = difference(one, other, tolerance, f"value {i + 1} of {where or WHOLE}")
        if found:
            return found
    return None


def _dict_difference(answer: Any, expected: dict, tolerance: Tolerance, where: str) -> str | None:
    if not isinstance(answer, dict):
        return f"{where or WHOLE} is {_kind(answer)}, not a dict"
    parts = f"the {where}" if where else "the result"
    missing = [k for k in expected if k not in answer]
    extra = [k for k in answer if k not in expected]
    if missing or extra:
        said = [f"lacks {', '.join(missing)}"] if missing else []
        said += [f"has unknown {', '.join(extra)}"] if extra else []
        return f"{parts} {' and '.join(said)}"
    for key in expected:
        inside = f"{key} in {where}" if where else key
        found = difference(answer[key], expected[key], tolerance, inside)
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
    most = max([1024, *(max(t.shape, default=0) for t in _tensors(expected))])
    for tensor in _tensors(answer):
        if tensor.numel() == 0 and max(tensor.shape, default=0) > most:
            return f"the result holds an empty tensor of shape {tuple(tensor.shape)}"
    return None


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return [value] if isinstance(value, torch.Tensor) else []
