"""IPython's cell magics before an exercise: those that only measure, and those that take its code
elsewhere."""

import re

TIMING = ("timeit", "prun", "time", "capture", "memit", "mprun")
_FIRST = re.compile(r"\s*%%(\w+)[^\n]*\n?")


def cell_magic(source: str) -> str:
    """The name of the cell magic that a cell begins with, or ""."""
    match = _FIRST.match(source)
    return match[1] if match else ""


def without_timing(source: str) -> tuple[str, str]:
    """A cell's code without a magic that measures it, and the magic's name.

    ``%%timeit`` runs code where nothing of it is kept; without the magic its functions are there.
    """
    name = cell_magic(source)
    if name not in TIMING:
        return source, ""
    return _FIRST.sub("", source, count=1), f"%%{name}"
