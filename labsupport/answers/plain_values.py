"""Plain values of what a student's function returns, before it is sent off.

Python lets an answer be many things that only look like a tensor: a subclass with a say of its
own in every operation, a sparse matrix, an expanded view of one number. Each is refused here
with a sentence that names it. This runs in the student's process and so is a courtesy, not a
defence: the grader judges the bytes that arrive.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from labsupport.answers.wire import WireError

MAX_BYTES = 8 * 1024 * 1024  # of one answer: the cases of an exercise are a few small tensors
WHOLE = "the result"  # what an answer is called that is no part of another
MAX_VALUES = 100_000  # numbers, strings and tensors, not the numbers in a tensor


def plain(value: Any, where: str = WHOLE) -> Any:
    """``value`` with every tensor plain, dense, on the CPU and free of lazy bits.

    Raises WireError for what is not a tensor of numbers, and for what is too large to send.
    """
    return _plain(value, where, [0, 0])


def _plain(value: Any, where: str, used: list[int]) -> Any:
    used[0] += 1
    if used[0] > MAX_VALUES:
        raise WireError(f"the result has more than {MAX_VALUES:,} values")
    if isinstance(value, torch.Tensor):
        return _plain_tensor(value, where, used)
    if isinstance(value, np.ndarray):
        _count(value.nbytes, where, used)
        if type(value) is not np.ndarray:
            raise WireError(
                f"{where} is a {type(value).__name__}, a subclass of numpy's array; "
                "return a plain array or tensor"
            )
        return value
    if isinstance(value, str):
        _count(len(value), where, used)
    if isinstance(value, list | tuple):
        items = [_plain(item, f"value {i + 1} of {where}", used) for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, dict):
        inside = "" if where == WHOLE else f" in {where}"
        return {key: _plain(item, f"{key}{inside}", used) for key, item in value.items()}
    if not (value is None or isinstance(value, bool | int | float | str | np.generic)):
        raise WireError(f"{where} {_no_value(value)}")
    return value


def _no_value(value: Any) -> str:
    """What is wrong with something that is neither a tensor nor a number."""
    kind = type(value).__name__
    if isinstance(value, nn.Module):
        return f"is the layer {kind}; return what it gives for an input"
    if isinstance(value, type) or callable(value):
        return f"is not a value but a {kind} ({getattr(value, '__name__', kind)}); call it"
    if isinstance(value, Iterator):
        return f"is a {kind}, which has computed nothing yet; return a list or a tensor"
    if isinstance(value, set | frozenset):
        return f"is a {kind}, which has no order; return a list or a tensor"
    return f"is a {kind}; return tensors, numbers, strings, lists or dicts"


def _plain_tensor(tensor: torch.Tensor, where: str, used: list[int]) -> torch.Tensor:
    if type(tensor) not in (torch.Tensor, nn.Parameter):
        raise WireError(
            f"{where} is a {type(tensor).__name__}, a subclass of torch.Tensor; "
            "return a plain tensor"
        )
    if tensor.is_quantized:
        raise WireError(f"{where} is quantised; return its values with dequantize()")
    if tensor.layout != torch.strided:
        kind = str(tensor.layout).removeprefix("torch.")
        raise WireError(f"{where} has the layout {kind}; return a dense tensor, with to_dense()")
    if tensor.is_meta:
        raise WireError(f"{where} is on the device 'meta' and holds no values")
    # an expanded tensor holds one number and is sent as many
    _count(tensor.numel() * tensor.element_size(), where, used)
    return tensor.detach().resolve_conj().resolve_neg()


def _count(size: int, where: str, used: list[int]) -> None:
    used[1] += size
    if used[1] > MAX_BYTES:
        raise WireError(
            f"{where} is too large to send: an answer may take "
            f"{MAX_BYTES // 2**20} MB, and this one takes at least "
            f"{used[1] / 2**20:,.0f} MB"
        )
