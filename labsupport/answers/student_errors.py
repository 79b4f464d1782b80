"""Errors of a student's code while it is asked: where they come from, and what they mean."""

from pathlib import Path
from types import TracebackType

# A path with one of these is not the student's own code.
LIBRARIES = (
    "site-packages",
    "dist-packages",
    "/lib/python",
    "<frozen",
    str(Path(__file__).parents[1]),
)

# What an exception in the grader's own lines says about the value that the student returned.
MEANINGS = (
    ("NoneType", "nothing came back where a result is wanted: is a return missing?"),
    (
        "does not require grad",
        "the result is cut off from its gradient, by detach(), .data, "
        "no_grad() or a conversion on the way",
    ),
    (
        "not have been used in the graph",
        "the gradient does not reach every input: one of them "
        "is not used, or is detached on the way",
    ),
    (
        "'float' object is not iterable",
        "a Python number came back, and no gradient flows from one: return the tensor",
    ),
    ("'tuple' object has no attribute", "several values came back where one is asked for"),
    ("to unpack", "not as many values came back as the exercise asks for"),
)

# What an exception in the student's own lines means, where its words alone do not say it.
RAISED = (
    (
        "a leaf Variable that requires grad",
        "an input or a parameter is changed in place; work on a copy",
    ),
)


def student_line(trace: TracebackType | None) -> str:
    """The innermost line of a traceback that is neither the grader's nor a library's, as words
    in brackets; "" where there is none."""
    found = ""
    while trace is not None:
        frame = trace.tb_frame
        file = frame.f_code.co_filename
        if not file.startswith("<driver of") and not any(word in file for word in LIBRARIES):
            found = f" (in {frame.f_code.co_name}, line {trace.tb_lineno} of its cell)"
        trace = trace.tb_next
    return found


def raised(said: str) -> str:
    """What to say where the notebook's own code raised ``said``."""
    return next((f"{said}: {meaning}" for words, meaning in RAISED if words in said), said)


def unusable(said: str) -> str:
    """What to say where the notebook's code gave something back, and using that raised ``said``."""
    if said.startswith("TypeError") and "argument" in said:
        return f"it cannot be called as the exercise says ({said})"
    for words, meaning in MEANINGS:
        if words in said:
            return f"{meaning} ({said})"
    return f"what came back cannot be used as the exercise says ({said})"
