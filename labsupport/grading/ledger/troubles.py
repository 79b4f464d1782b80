"""Submissions that have no grade, and why: what a run has found outlives it."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labsupport.grading.ledger.kept import Pair, keep, read_kept

Kind = Literal["unreadable", "failed"]


@dataclass(frozen=True)
class Trouble:
    """``unreadable``: the student's file is at fault. ``failed``: we, or our machine, are."""

    kind: Kind
    reason: str


def trouble_of(folder: Path, pair: Pair) -> Trouble | None:
    """What keeps a submission from a grade, said of the very notebook that lies there now."""
    about = read_kept(folder, pair).get("trouble")
    if not isinstance(about, dict) or about.get("mark") != _mark(folder, pair):
        return None
    with contextlib.suppress(KeyError):
        return Trouble(about["kind"], about["reason"])
    return None


def keep_trouble(folder: Path, pair: Pair, trouble: Trouble | None) -> None:
    """Note what a run has found of a submission; None: nothing is in its way any more."""
    about = None
    if trouble is not None:
        mark = _mark(folder, pair)
        about = {"kind": trouble.kind, "reason": trouble.reason, "mark": mark}
    keep(folder, pair, trouble=about)


def _mark(folder: Path, pair: Pair) -> str:
    """What tells one hand-in from the next without reading it, "" where there is none."""
    assignment, student = pair
    place = folder / "submitted" / student / assignment
    marks = []
    for path in (place / f"{assignment}.ipynb", place / "timestamp.txt"):
        with contextlib.suppress(OSError):
            about = path.lstat()
            marks.append(f"{path.suffix}:{about.st_size}:{about.st_mtime_ns}")
    return " ".join(marks)
