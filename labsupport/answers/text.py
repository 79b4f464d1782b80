"""Text of a student's, made fit to be shown."""

from typing import Any


def one_line(text: Any, most: int = 600) -> str:
    """A student's text as one line of printable characters, and not a long one."""
    line = " ".join(str(text)[: 4 * most].split())
    return "".join(c for c in line if c.isprintable())[:most]
