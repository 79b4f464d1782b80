"""Submissions that have no grade, and why: what a run has found outlives it.

DIR/.labs/troubles.json   by lab and student: "unreadable" or "failed", the reason, and what it
                          was said of; a notebook that has been handed in again is not judged by
                          the old one's.
"""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["unreadable", "failed"]
Pair = tuple[str, str]  # (assignment, student)


@dataclass(frozen=True)
class Trouble:
    """``unreadable``: the student's file is at fault. ``failed``: we, or our machine, are."""

    kind: Kind
    reason: str


def handed_in_mark(folder: Path, assignment: str, student: str) -> str:
    """What tells one hand-in from the next without reading it, "" where there is none."""
    marks = []
    place = folder / "submitted" / student / assignment
    for path in (place / f"{assignment}.ipynb", place / "timestamp.txt"):
        with contextlib.suppress(OSError):
            about = path.lstat()
            marks.append(f"{path.suffix}:{about.st_size}:{about.st_mtime_ns}")
    return " ".join(marks)


def read_troubles(folder: Path) -> dict[Pair, Trouble]:
    """Every trouble that still holds: said of the very notebook that lies there now."""
    found = {}
    for (assignment, student), about in _read(folder).items():
        if about.get("mark") == handed_in_mark(folder, assignment, student):
            with contextlib.suppress(KeyError):
                found[assignment, student] = Trouble(about["kind"], about["reason"])
    return found


def keep_troubles(folder: Path, looked_at: list[Pair], troubles: dict[Pair, Trouble]) -> None:
    """Note what a run has found about all that it has ``looked_at``; the rest stays noted."""
    known = {pair: about for pair, about in _read(folder).items() if pair not in set(looked_at)}
    for pair, trouble in troubles.items():
        known[pair] = asdict(trouble) | {"mark": handed_in_mark(folder, *pair)}
    by_lab: dict[str, dict[str, dict]] = {}
    for (assignment, student), about in sorted(known.items()):
        by_lab.setdefault(assignment, {})[student] = about
    # torch comes with it: who only reads has no use for it
    from labsupport.data.files import write_whole

    write_whole(_path(folder), json.dumps(by_lab, ensure_ascii=False, indent=1) + "\n")


def _read(folder: Path) -> dict[Pair, dict]:
    try:
        labs = json.loads(_path(folder).read_text(encoding="utf-8"))
        return {
            (lab, student): dict(about)
            for lab, students in labs.items()
            for student, about in students.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _path(folder: Path) -> Path:
    return folder / ".labs" / "troubles.json"
