"""Checks, the visible ones: immediate, ungraded, and written to teach.

A check cell tests one exercise, in the order exists, signature, shape, invariants, values,
gradient, cost. The first failure stops it with a short message instead of a stack trace: what was
expected, what came, the likely cause, where to read. Checks never decide a grade.
"""

import inspect
import math
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labsupport.answers.compare import Difference
from labsupport.answers.examples import load_examples
from labsupport.notebook.failures import CheckFailed, explain_exception
from labsupport.notebook.solved import note


class Check:
    """The checks of one exercise, as a context; leaving it without failure prints one line.

    `read` says where the student finds the idea that the exercise needs::

        with Check("patchify", read="section 1") as check:
            check.signature(patchify, "images", "patch_size")
            check.values(patchify(images, 2), expected, "patchify(images, 2)")

    Whatever the student's code raises inside is reported with the call that failed, the literal
    error and the student's own line.
    """

    def __init__(self, exercise: str, read: str = ""):
        self.exercise, self.read, self.passed = exercise, read, 0

    def __enter__(self) -> "Check":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            note(self.exercise)
            plural = "" if self.passed == 1 else "s"
            print(f"{self.exercise}: {self.passed} check{plural} passed.")
        elif isinstance(error, Exception) and not isinstance(error, CheckFailed):
            message = explain_exception(self.exercise, error, trace, self.read)
            note(self.exercise, message)
            raise CheckFailed(message) from error
        elif isinstance(error, CheckFailed):
            note(self.exercise, str(error))

    def fail(self, problem: str, **lines: Any) -> None:
        """Stop with a message: `problem`, then one labelled line for each of `lines`."""
        text = [f"{self.exercise}: {problem}"]
        if self.read:
            lines["read"] = self.read
        for label, value in lines.items():
            if value not in (None, ""):
                text.append(f"  {label:<9} " + str(value).replace("\n", "\n" + " " * 12))
        raise CheckFailed("\n".join(text))

    def that(self, condition: Any, otherwise: str, likely: str = "") -> None:
        """`condition` holds; if it does not, say the sentence `otherwise`."""
        if not condition:
            self.fail(otherwise, likely=likely)
        self.passed += 1

    def signature(self, function: Any, *names: str) -> None:
        """`function` (or a class's constructor) takes the arguments `names`, in order. More may
        follow that need not be given."""
        if not callable(function):
            self.fail(
                f"this name is bound to a {type(function).__name__}, not to a function",
                likely="a variable in another cell has the same name; rename it and run "
                "the exercise's cell again",
            )
        parameters = inspect.signature(function).parameters
        found, more = tuple(parameters), list(parameters.values())[len(names) :]
        needed = [
            p
            for p in more
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        if found[: len(names)] != names or needed:
            self.fail(
                f"{function.__name__} takes other arguments than the exercise says",
                expected=", ".join(names),
                got=", ".join(found) or "none",
                likely="the line with def was edited; restore it",
            )
        self.passed += 1

    def shape(self, got: Any, expected: Iterable[int], what: str, likely: str = "") -> None:
        """`got` is a tensor of the shape `expected`."""
        expected = tuple(expected)
        if not isinstance(got, Tensor):
            hint = "a return statement is missing" if got is None else likely
            self.fail(
                f"{what} is not a tensor",
                expected=f"a tensor of shape {expected}",
                got=type(got).__name__,
                likely=hint,
            )
        if tuple(got.shape) != expected:
            self.fail(
                f"wrong shape of {what}", expected=expected, got=tuple(got.shape), likely=likely
            )
        self.passed += 1

    def dtype(self, got: Tensor, expected: torch.dtype, what: str) -> None:
        """`got` has the dtype `expected`."""
        if got.dtype != expected:
            self.fail(
                f"wrong dtype of {what}",
                expected=expected,
                got=got.dtype,
                likely="a conversion, or a new tensor made without dtype=",
            )
        self.passed += 1

    def parameters(self, module: nn.Module, expected: Mapping[str, Iterable[int]]) -> None:
        """`module` has exactly the parameters `expected`: name -> shape."""
        found = {name: tuple(p.shape) for name, p in module.named_parameters()}
        wanted = {name: tuple(shape) for name, shape in expected.items()}
        name = type(module).__name__
        missing = [n for n in wanted if n not in found]
        extra = [n for n in found if n not in wanted]
        if missing:
            self.fail(
                f"{name} lacks the parameter {missing[0]}",
                expected=f"{missing[0]} of shape {wanted[missing[0]]}",
                got=_listed(extra, "parameters that are not asked for: "),
                likely="the attribute has another name, or is not an nn.Parameter or "
                "nn.Module (a plain list hides the modules in it)",
            )
        if extra:
            self.fail(f"{name} has a parameter too many: {extra[0]}", expected=_listed(wanted))
        for key, shape in wanted.items():
            if found[key] != shape:
                self.fail(
                    f"the parameter {key} of {name} has the wrong shape",
                    expected=shape,
                    got=found[key],
                )
        self.passed += 1

    def values(
        self,
        got: Any,
        expected: Any,
        what: str,
        *,
        otherwise: Mapping[str, Any] = {},
        likely: str = "",
        rtol: float = 1e-4,
        atol: float = 1e-5,
        draw: bool = False,
    ) -> None:
        """`got` equals `expected` within `atol + rtol * |expected|`.

        `otherwise` names known mistakes: sentence -> the value that the mistake gives. On failure
        the message says which of them `got` equals. `draw` shows yours, expected and difference.
        """
        if got is None or isinstance(got, tuple | list) and _tensor(expected).ndim == 0:
            several = got is not None
            self.fail(
                f"{what} is {f'a {type(got).__name__} of {len(got)}' if several else 'None'}",
                expected="one tensor",
                likely=likely if several else "a return statement is missing",
            )
        got, expected = _tensor(got), _tensor(expected)
        if got.shape != expected.shape:
            self.fail(
                f"wrong shape of {what}",
                expected=tuple(expected.shape),
                got=tuple(got.shape),
                likely=likely,
            )
        if got.isnan().any():
            share = got.isnan().double().mean().item()
            self.fail(
                f"NaN in {what} ({share:.0%} of the values)",
                likely="inf - inf or 0 / 0; subtract the maximum before exp, or call softmax",
            )
        if not torch.allclose(got, expected, rtol=rtol, atol=atol):
            if draw:
                _draw(got, expected)
            worst = int((got - expected).abs().argmax())
            place = [int(i) for i in np.unravel_index(worst, tuple(got.shape))]
            at = f" at {place}" if place else ""
            self.fail(
                f"wrong values in {what}",
                expected=_number(expected.flatten()[worst].item()) + at,
                got=_number(got.flatten()[worst].item()) + at,
                likely=_recognise(got, expected, otherwise, rtol, atol) or likely,
            )
        self.passed += 1

    def unchanged(self, now: Tensor, before: Tensor, what: str) -> None:
        """The input `now` still holds what it held `before` the call."""
        if not torch.equal(now, before):
            self.fail(
                f"your code changed its input {what}",
                likely="an operation in place: +=, or a method that ends in _",
            )
        self.passed += 1

    def gradient(self, output: Tensor, inputs: Mapping[str, Tensor]) -> None:
        """A gradient that is finite and not zero flows from `output` to each of `inputs`."""
        weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        likely = "detach, .data, .item, numpy or torch.no_grad cuts the graph"
        if not output.requires_grad:
            self.fail("no gradient flows back from the output", likely=likely)
        grads = torch.autograd.grad(
            (output * weights).sum(), list(inputs.values()), allow_unused=True
        )
        for name, grad in zip(inputs, grads):
            if grad is None or not grad.any():
                self.fail(
                    f"no gradient reaches {name}",
                    likely=likely if grad is None else f"{name} does not enter the output",
                )
            if not grad.isfinite().all():
                self.fail(f"the gradient of {name} is not finite")
        self.passed += 1

    def cases(self, lab: str, names: dict[str, Any]) -> None:
        """Every kind of case that the exercise is graded on, with other numbers.

        `lab` is the lab's number, `names` are the notebook's globals(). Earlier exercises do not
        count here: right ones stand in for them.
        """
        found = load_examples(lab, self.exercise).ask(names)
        wrong = next((f for f in found if f.status != "passed"), None)
        if wrong is not None:
            place = ", ".join(filter(None, (wrong.part, wrong.case)))
            text = f"{place}: {wrong.text}" if place else wrong.text
            lines = _first_wrong(wrong.difference)
            self.fail(text, **lines, seen=wrong.seen, likely=wrong.hint)
        self.passed += len(found)

    def cost(self, macs: int, at_most: int, what: str, likely: str = "") -> None:
        """`what` takes at most `at_most` multiply-accumulates."""
        if macs > at_most:
            self.fail(
                f"{what} computes more than it needs",
                expected=f"at most {at_most:,} MACs",
                got=f"{macs:,} MACs",
                likely=likely,
            )
        self.passed += 1


def _first_wrong(difference: Difference | None) -> dict[str, str]:
    """Expected and got of the number that is furthest off, where a case is wrong by numbers."""
    if difference is None or difference.answer is None:
        return {}
    got, expected = _tensor(difference.answer), _tensor(difference.expected)
    if got.shape != expected.shape or not got.numel():
        return {}
    worst = int((got - expected).abs().nan_to_num(torch.inf).argmax())
    place = [int(i) for i in np.unravel_index(worst, tuple(got.shape))]
    at = f" at {place}" if place else ""
    return {
        "expected": _number(expected.flatten()[worst].item()) + at,
        "got": _number(got.flatten()[worst].item()) + at,
    }


def _number(value: float) -> str:
    return f"{value + 0.0:,.0f}" if value.is_integer() else f"{value:.6g}"  # -0 is 0


def _listed(names: Iterable[str], before: str = "", most: int = 6) -> str:
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return before + ", ".join(names[:most]) + rest if names else ""


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().double()


def _recognise(
    got: Tensor, expected: Tensor, otherwise: Mapping[str, Any], rtol: float, atol: float
) -> str:
    """The sentence of the known mistake that `got` shows, or nothing."""
    for sentence, value in otherwise.items():
        value = _tensor(value)
        if value.shape == got.shape and torch.allclose(got, value, rtol=rtol, atol=atol):
            return sentence
    size = (expected * expected).sum().item()
    factor = (got * expected).sum().item() / size if size and got.numel() > 1 else 0.0
    if factor and torch.allclose(got, factor * expected, rtol=rtol, atol=atol):
        return f"every value is {factor:.4g} times what it should be"
    return ""


def _draw(got: Tensor, expected: Tensor) -> None:
    from labsupport.notebook.plot.maps import compare_maps

    rows = math.prod(got.shape[:-1])
    compare_maps(got.reshape(rows, -1), expected.reshape(rows, -1))
