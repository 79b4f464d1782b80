"""The graded line of a student's notebook: it fails while its exercise is not solved.

So nbgrader's Validate, which knows of our judges nothing, never says that all is well where
nothing is. What passes here is no more than what the visible check says; points are given when the
notebook is handed in.
"""

import dis
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from labsupport.notebook.failures import CheckFailed

_said: dict[str, str] = {}  # exercise -> how its check ended last: "" where it passed


def note(exercise: str, failure: str = "") -> None:
    """Remember how the visible check of an exercise ended, for its graded line."""
    _said[exercise] = failure.splitlines()[0] if failure else ""


def solved(exercise: str, *names: str) -> None:
    """Raise CheckFailed, one line, where the notebook lacks one of ``names``, which the exercise
    defines, where one still raises NotImplementedError as it came, or where the visible check has
    not passed in this session."""
    frame = inspect.currentframe()
    here = frame.f_back.f_globals if frame and frame.f_back else {}
    for name in names:
        if name not in here:
            raise CheckFailed(f"{exercise} is not solved yet: {name} is not defined.")
        if any(_raises_as_it_came(code) for code in _codes(here[name])):
            raise CheckFailed(f"{exercise} is not solved yet: it still raises NotImplementedError.")
    failure = _said.get(exercise, "run it first")
    if failure:
        said = failure.removeprefix(f"{exercise}: ").rstrip(".")
        raise CheckFailed(f"{exercise}: its check above has not passed yet ({said}).")


def _codes(thing: Any) -> Iterator[CodeType]:
    """The code of a function, or of a class's own methods, with what is defined inside."""
    if isinstance(thing, type):
        for member in vars(thing).values():
            for part in (member, getattr(member, "fget", None)):
                plain = inspect.unwrap(getattr(part, "__func__", part)) if part else None
                if isinstance(plain, FunctionType):
                    yield from _nested(plain.__code__)
    elif callable(thing):
        plain = inspect.unwrap(thing)
        if isinstance(plain, FunctionType):
            yield from _nested(plain.__code__)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _raises_as_it_came(code: CodeType) -> bool:
    """Whether a bare ``raise NotImplementedError`` is left and reached; one with a message is the
    student's."""
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "NOP")]
    return any(
        step.opname.startswith("LOAD_")
        and step.argval == "NotImplementedError"
        and after.opname == "RAISE_VARARGS"
        for step, after in zip(steps, steps[1:])
    )
