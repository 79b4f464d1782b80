"""Fingerprint of a lab: what of it a grade depends on, as one short hash."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from labsupport.course.lab import Lab
from labsupport.course.source import parse_lab


def fingerprint(lab: Lab) -> str:
    """A hash of what a lab's grades depend on: its code, judges, traps, points and masks, and the
    order and the ids of its cells. Prose, and the text of the written questions, do not count."""
    unread = ("prose", "question")  # by the grader
    cells = [
        [
            c.kind,
            c.id,
            c.name or None,
            c.label or None,
            c.points or None,
            c.parts,
            sorted(c.tags),
            "" if c.kind in unread else c.source,
        ]
        for c in lab.cells
        if c.kind != "alternative"
    ]
    text = json.dumps([lab.stem, sorted(lab.masks), cells])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def fingerprint_of(stem: str, source: str) -> str:
    """The fingerprint of a lab's source text; once a class, not once a submission."""
    return fingerprint(parse_lab(source, Path(f"{stem}.py")))
