"""Fingerprint of a lab: what of it a verdict depends on, as one short hash.

What a verdict is worth is no part of it: points may change after grading, and nothing is run again
for that.
"""

import ast
import hashlib
import json
from functools import lru_cache

from labsupport.course.judge_cell import bound_names
from labsupport.course.lab import Lab, LabCell
from labsupport.course.source import parsed_lab


def fingerprint(lab: Lab) -> str:
    """A hash of what a lab's verdicts depend on: its code, judges, traps and masks, and the order
    and the ids of its cells. Prose, the text of the written questions, and points do not count."""
    unread = ("prose", "question")  # by the grader
    cells = [
        [
            c.kind,
            c.id,
            c.name or None,
            c.label or None,
            list(c.parts),
            sorted(c.tags),
            "" if c.kind in unread else _without_points(c) if c.parts else c.source,
        ]
        for c in lab.cells
        if c.kind != "alternative"
    ]
    text = json.dumps([lab.stem, sorted(lab.masks), cells])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_points(judge: LabCell) -> str:
    """A judge's code without the points of its parts, which stand in it."""
    lines = judge.source.splitlines()
    for node in reversed(ast.parse(judge.source).body):
        if isinstance(node, ast.Assign | ast.AnnAssign) and bound_names(node) == ["parts"]:
            lines[node.lineno - 1 : node.end_lineno] = ["parts"]
    return "\n".join(lines)


@lru_cache(maxsize=64)
def fingerprint_of(stem: str, source: str) -> str:
    """The fingerprint of a lab's source text; once a class, not once a submission."""
    return fingerprint(parsed_lab(stem, source))
