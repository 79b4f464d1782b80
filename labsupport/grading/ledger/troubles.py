"""Submissions that have no grade, and why: what a run has found outlives it."""

import contextlib
import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labsupport.grading.ledger.kept import Pair, keep, read_kept
from labsupport.grading.submission.handed_in import MAX_MB

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
    """Note what a run has found of a submission; None: it has been graded."""
    mark = _mark(folder, pair)
    if trouble is None:
        keep(folder, pair, trouble=None, graded=mark)
        return
    about = {"kind": trouble.kind, "reason": trouble.reason, "mark": mark}
    keep(folder, pair, trouble=about)


def is_handed_in_again(folder: Path, pair: Pair) -> bool:
    """Whether something else lies there now than what was graded last."""
    return read_kept(folder, pair).get("graded") not in (None, _mark(folder, pair))


def _mark(folder: Path, pair: Pair) -> str:
    """What tells one hand-in from the next; links and what is no file are not read."""
    assignment, student = pair
    place = folder / "submitted" / student / assignment
    found = hashlib.sha256()
    for path in (place / f"{assignment}.ipynb", place / "timestamp.txt"):
        with contextlib.suppress(OSError):
            about = path.lstat()
            plain = stat.S_ISREG(about.st_mode) and about.st_size <= MAX_MB * 2**20
            content = path.read_bytes() if plain else str(about.st_mode).encode()
            found.update(b"%d:" % len(content) + content)
    return found.hexdigest()[:16]
