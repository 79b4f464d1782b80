"""Responses, the student's side of grading: run an exercise on given inputs, hand outputs back.

A graded cell becomes, while it is graded, one call of :func:`respond` with a challenge: inputs
and, where a plain call is not enough, a small driver. Nothing here knows the right answer, and
nothing it prints decides a grade: the outputs are compared elsewhere, in another process.
"""

import contextlib
import copy
import math
import random
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from labsupport.answers.plain_values import plain
from labsupport.answers.student_errors import raised, student_line, unusable
from labsupport.answers.wire import WireError, decode, encode

MIME = "application/vnd.labsupport.response+json"


class Missing(Exception):
    """The notebook does not define a name that the exercise asks for."""


class LabNamespace:
    """A notebook's names as attributes: ``lab.patchify``; raises :class:`Missing`."""

    def __init__(self, names: dict[str, Any]):
        object.__setattr__(self, "_names", names)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._names[name]
        except KeyError:
            raise Missing(name) from None

    @contextlib.contextmanager
    def replacing(self, **stand_ins: Any) -> Iterator[None]:
        """Put stand-ins in the place of names for a while, so that an earlier exercise's mistake
        does not count twice."""
        absent = object()
        before = {name: self._names.get(name, absent) for name in stand_ins}
        self._names.update(stand_ins)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is absent:
                    del self._names[name]
                else:
                    self._names[name] = value


def fill_parameters(module: nn.Module, seed: int = 0) -> nn.Module:
    """Fill every parameter in place with values that depend on its name, shape and ``seed`` only.

    Two modules with equal parameter names and shapes become equal, in whatever order they made
    their layers. Values are normal with standard deviation 1/sqrt(fan-in) for matrices and 0.2
    for vectors, large enough that every parameter shows in the output.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            values = rng.standard_normal(tuple(parameter.shape))
            fan_in = math.prod(parameter.shape[1:]) if parameter.ndim > 1 else 25
            scaled = torch.from_numpy(values / math.sqrt(max(fan_in, 1)))
            parameter.copy_(scaled.to(parameter.dtype))
    return module


def driver_names() -> dict[str, Any]:
    """The names a driver may use without importing them, on either side."""
    import einops

    return {
        "torch": torch,
        "nn": nn,
        "F": F,
        "np": np,
        "math": math,
        "einops": einops,
        "fill_parameters": fill_parameters,
    }


def make_driver(source: str | None, exercise: str):
    """Compile a driver ``drive(lab, **inputs)``; without a source, call the exercise itself."""
    if source is None:
        return lambda lab, **inputs: getattr(lab, exercise)(**inputs)
    names = driver_names()
    exec(compile(source, f"<driver of {exercise}>", "exec"), names)
    return names["drive"]


def answer_cases(driver: Any, lab: LabNamespace, cases: list[dict]) -> list[dict]:
    """Run the driver on every case: ``{"answer": wire}`` or ``{"error": kind, "text": line}``.

    The first case is asked twice. Where the second answer differs it is given as ``"again"``,
    None where there is none: the grader knows whether it should have been the same. ``"cause"``
    is ``"random"`` where a third answer, made with the first one's random numbers, equals the
    first, and ``"state"`` where it does not.
    """
    answers = []
    for index, inputs in enumerate(cases):
        spare = [copy.deepcopy(inputs) for _ in range(2 * (index == 0))]
        numbers = _random_numbers()
        answers.append(_answer(driver, lab, inputs))
        if index == 0 and "answer" in answers[0]:
            again = _answer(driver, lab, spare[0]).get("answer")
            if again != answers[0]["answer"]:
                _draw_again(*numbers)
                third = _answer(driver, lab, spare[1]).get("answer")
                cause = "random" if third == answers[0]["answer"] else "state"
                answers[0] |= {"again": again, "cause": cause}
    return answers


def respond(challenge: str) -> None:
    """Answer a challenge (JSON, see ``judging.judge``) and display the response."""
    from IPython.display import display

    import __main__

    message = decode(challenge)
    driver = make_driver(message["driver"], message["exercise"])
    answers = answer_cases(driver, LabNamespace(vars(__main__)), message["cases"])
    display({MIME: {"nonce": message["nonce"], "answers": answers}}, raw=True)


def _random_numbers() -> tuple:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _draw_again(for_torch: torch.Tensor, for_numpy: Any, for_python: Any) -> None:
    torch.set_rng_state(for_torch)
    np.random.set_state(for_numpy)
    random.setstate(for_python)


def _answer(driver: Any, lab: LabNamespace, inputs: dict) -> dict:
    given = {name: encode(value) for name, value in inputs.items()}
    try:
        answer = encode(plain(driver(lab, **inputs)))
    except Missing as error:
        return {"error": "missing", "text": str(error)}
    except WireError as error:
        return {"error": "unsendable", "text": str(error)[:500]}
    except (Exception, SystemExit) as error:  # a call of exit() must not end the response
        if type(error) is NotImplementedError and not error.args:  # as the exercise comes
            return {"error": "unsolved", "text": ""}
        said, where = _said(error), student_line(sys.exc_info()[2])
        if where or isinstance(error, SystemExit):
            return {"error": "raised", "text": raised(said) + where}
        return {"error": "unusable", "text": unusable(said)}
    changed = [name for name, value in inputs.items() if _encoded(value) != given[name]]
    if changed:
        return {"error": "changed", "text": ", ".join(changed)}
    return {"answer": answer}


def _encoded(value: Any) -> str | None:
    try:
        return encode(value)
    except Exception:  # something that cannot be sent has been put into a list, say
        return None


def _said(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:500]
    except Exception:  # an exception may fail to describe itself
        return type(error).__name__
