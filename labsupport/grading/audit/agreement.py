"""Agreement of two answers, by the audit's own measure: whether a rewrite kept the meaning.

It knows nothing of a judge's tolerance or of what a judge asks for: numbers agree within a
thousandth, whatever they are stored in.
"""

import math
from typing import Any

import torch

RTOL, ATOL = 1e-3, 1e-4


def same(answer: Any, right: Any) -> bool:
    """Whether an answer says what the right one says."""
    if isinstance(right, torch.Tensor):
        return _same_tensor(answer, right)
    if isinstance(right, dict):
        return (
            isinstance(answer, dict)
            and set(answer) == set(right)
            and all(same(answer[key], value) for key, value in right.items())
        )
    if isinstance(right, list | tuple):
        return (
            isinstance(answer, list | tuple)
            and len(answer) == len(right)
            and all(map(same, answer, right))
        )
    if isinstance(right, float) and not isinstance(answer, str | list | dict | None):
        number = float(answer)
        both_nan = math.isnan(number) and math.isnan(right)
        return both_nan or math.isclose(number, right, rel_tol=RTOL, abs_tol=ATOL)
    return type(answer) is type(right) and answer == right


def _same_tensor(answer: Any, right: torch.Tensor) -> bool:
    if answer is None:  # a gradient that does not flow
        return not right.any()
    if not isinstance(answer, torch.Tensor) or answer.shape != right.shape:
        return False
    if not right.is_floating_point():
        return not answer.is_floating_point() and torch.equal(answer.to(right.dtype), right)
    return answer.is_floating_point() and torch.allclose(
        answer.double(), right.double(), rtol=RTOL, atol=ATOL, equal_nan=True
    )
