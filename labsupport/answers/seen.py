"""A wrong tensor in words: how it relates to the right one, and where the two differ.

Nothing here guesses at a cause, and no value of the right tensor is told: only what anybody would
see who had both side by side.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

MOST_SLICES = 64  # along an axis, to look for another order in
MOST_SHIFT = 3
LITTLE = 0.1  # an error of less than this, as a share of the right values' size, is small
MUCH = 1.5  # values this many times as large are no longer of about the right size
HARDLY = 0.3  # a correlation below which two tensors are not alike
FEW = 8  # values; a correlation of fewer says nothing


def seen(answer: Tensor, expected: Tensor, rtol: float, atol: float) -> str:
    """What is to be seen of ``answer``, which has the shape of ``expected`` and is not close to
    it; "" where nothing simple is."""
    if answer.shape != expected.shape or answer.numel() == 0:
        return ""
    if expected.dtype == torch.bool and answer.dtype == torch.bool:
        if torch.equal(answer, ~expected):
            return "True and False are exchanged"
    answer, expected = answer.double(), expected.double()
    found = ""
    if answer.isfinite().all() and expected.isfinite().all():
        close = partial(torch.allclose, rtol=rtol, atol=atol)
        found = next(_relations(answer, expected, close), "")
    wrong = ~torch.isclose(answer, expected, rtol=rtol, atol=atol, equal_nan=True)
    return found or _where(wrong) or _size(answer, expected)


def _relations(answer: Tensor, expected: Tensor, close: partial) -> Iterator[str]:
    varied = not close(expected, expected.flatten()[0].expand_as(expected))
    if varied and torch.equal(answer, answer.flatten()[0].expand_as(answer)):
        yield "every value is the same" if answer.any() else "every value is 0"
    if not varied and answer.numel() == 1:
        return  # of a single number any other is a multiple
    if close(-answer, expected):
        yield "every value has the other sign"
    if varied:
        yield from _factor(answer, expected, close)
    if expected.dim() >= 2 and expected.shape[-1] == expected.shape[-2]:
        if close(answer.mT, expected):
            yield "the last two axes, rows and columns, are exchanged"
    for axis in range(expected.dim()):
        if expected.shape[axis] > 1:
            yield from _along(answer, expected, axis, close)
    if varied and close(answer.flatten().sort().values, expected.flatten().sort().values):
        yield "the values are right, but in other places"


def _factor(answer: Tensor, expected: Tensor, close: partial) -> Iterator[str]:
    size = expected.square().sum()
    factor = ((answer * expected).sum() / size).item() if size else 0.0
    if factor and close(answer, factor * expected):
        yield f"every value is {_number(factor)} times what it should be"
    gap = (answer - expected).mean()
    if close(answer - gap, expected):
        yield f"every value is too {'large' if gap > 0 else 'small'}, all by the same amount"


def _along(answer: Tensor, expected: Tensor, axis: int, close: partial) -> Iterator[str]:
    size = expected.shape[axis]
    if close(answer.flip(axis), expected):
        yield f"the order along axis {axis} is reversed"
    for shift in range(1, min(MOST_SHIFT, size - 1) + 1):
        if any(close(answer, expected.roll(s, axis)) for s in (shift, -shift)):
            yield f"everything is moved by {shift} along axis {axis}"
    if size > 3 and (
        close(answer.narrow(axis, 1, size - 1), expected.narrow(axis, 0, size - 1))
        or close(answer.narrow(axis, 0, size - 1), expected.narrow(axis, 1, size - 1))
    ):
        yield f"everything is moved by 1 along axis {axis}"
    if close(answer, expected.cumsum(axis)):
        yield f"values are added up along axis {axis}"
    if close(answer.cumsum(axis), expected):
        yield f"values are not added up along axis {axis}"
    if size <= MOST_SLICES and _reordered(answer, expected, axis, close):
        yield f"what lies along axis {axis} is right, but in another order"


def _reordered(answer: Tensor, expected: Tensor, axis: int, close: partial) -> bool:
    """Whether the slices along an axis are the right ones, each once."""
    left = list(expected.unbind(axis))
    for part in answer.unbind(axis):
        match = next((i for i, other in enumerate(left) if close(part, other)), None)
        if match is None:
            return False
        del left[match]
    return True


def _where(wrong: Tensor) -> str:
    """Which part of a tensor is wrong, where that is less than all of it."""
    if wrong.all() or not wrong.any():
        return ""
    for axis in range(wrong.dim()):
        others = [a for a in range(wrong.dim()) if a != axis]
        hit = wrong.any(dim=others) if others else wrong
        if not hit.all() and (others or hit.sum() == 1 or len(hit) > 3):
            return f"{_places(hit)} along axis {axis} is wrong"
    if wrong.dim() >= 2 and min(wrong.shape[-2:]) > 2 and not wrong[..., 1:-1, 1:-1].any():
        return "only the border of the last two axes is wrong"
    return f"{max(wrong.double().mean().item(), 0.01):.0%} of the values are wrong"


def _size(answer: Tensor, expected: Tensor) -> str:
    """How far from the right one a tensor is that is wrong everywhere."""
    if answer.numel() < 2 or not expected.isfinite().all() or not expected.any():
        return ""
    if not answer.isfinite().all():
        return ""
    right = expected.square().mean().sqrt()
    apart = ((answer - expected).square().mean().sqrt() / right).item()
    times = (answer.square().mean().sqrt() / right).item()
    if apart < LITTLE:
        return f"every value is a little off, by about {max(apart, 1e-4):.1g} of its size"
    if not 1 / MUCH < times < MUCH:
        larger = f"{times:.2g} times as large" if times > 1 else f"{times:.2g} of the size"
        return f"every value is wrong; on the whole they are about {larger}"
    if answer.numel() < FEW:
        return "every value is wrong, and of about the right size"
    together = torch.corrcoef(torch.stack([answer.flatten(), expected.flatten()]))[0, 1].item()
    alike = "hardly like" if abs(together) < HARDLY else "partly like"
    alike = alike if together > -HARDLY else "opposite to"
    return f"every value is wrong: of about the right size, and {alike} what is right"


def _places(hit: Tensor) -> str:
    """Where along an axis something is wrong."""
    size, places = len(hit), hit.nonzero().flatten().tolist()
    named = {
        "only the first place": [0],
        "only the last place": [size - 1],
        "everything but the first place": list(range(1, size)),
        "everything but the last place": list(range(size - 1)),
        "only the first half": list(range(size // 2)),
        "only the second half": list(range((size + 1) // 2, size)),
    }
    for name, wanted in named.items():
        if places == wanted:
            return name
    if len(places) == 1:
        return f"only place {places[0]}, counted from 0,"
    return f"only a part, {len(places)} of {size} places,"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value - round(value)) < 1e-6 else f"{value:.3g}"
