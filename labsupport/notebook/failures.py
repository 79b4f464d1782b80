"""Failures: what a failed check looks like, and how a student is told of an exception."""

import linecache
import traceback
from types import TracebackType
from typing import Any

from labsupport.answers.student_errors import LIBRARIES

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"  # no colour: the theme's own is read on light and dark


class CheckFailed(AssertionError):
    """A failed check. A notebook shows its message and no stack trace."""

    def _render_traceback_(self, *_: Any) -> list[str]:
        first, *rest = str(self).splitlines()
        return [f"{_BOLD}{first}{_PLAIN}", *rest]


def explain_exception(
    exercise: str, error: Exception, trace: TracebackType | None, read: str = ""
) -> str:
    """One message about an exception raised inside a check: the call in the check cell, the
    literal error, and every line of the student's own code on the way; library lines are left out.
    """
    if isinstance(error, NotImplementedError):
        owner = _raised_in(trace)
        same = _plain(owner) in ("", _plain(exercise))
        return f"{exercise}: " + ("" if same else f"{owner} is ") + "not implemented yet."
    frames = [f for f in _frames(trace) if not any(part in f[0] for part in LIBRARIES)]
    if isinstance(error, NameError) and len(frames) <= 1:
        return (
            f"{exercise}: the name {error.name} does not exist yet\n"
            f"  likely    the cell that defines {error.name} has not been run; run the cells "
            "above, then this one"
        )
    text = [f"{exercise}: your code raised {type(error).__name__}: {error}"]
    for depth, (_, line, name, code) in enumerate(frames):
        place = f"line {line} of this cell" if depth == 0 else f"{name}, line {line} of its cell"
        text.append(f"  {'in' if depth else 'call':<9} {place}: {code.strip()}")
    return "\n".join(text + ([f"  read      {read}"] if read else []))


def _frames(trace: TracebackType | None) -> list[tuple[str, int, str, str]]:
    """(file, line, function, source line) of each frame, outermost first."""
    return [
        (f.filename, f.lineno or 0, f.name, f.line or linecache.getline(f.filename, f.lineno or 0))
        for f in traceback.extract_tb(trace)
    ]


def _raised_in(trace: TracebackType | None) -> str:
    """The function, or for a method the class, in which an error was raised."""
    if trace is None:
        return ""
    frame = list(traceback.walk_tb(trace))[-1][0]
    if "self" in frame.f_locals:
        return type(frame.f_locals["self"]).__name__
    return frame.f_code.co_name if frame.f_code.co_name != "<module>" else ""


def _plain(name: str) -> str:
    """MultiHeadAttention and multi_head_attention are the same thing to a reader."""
    return name.replace("_", "").lower()
