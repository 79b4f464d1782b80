"""Rows of the table that ``labs grade`` prints."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from labsupport.grading.ledger.grades_csv import lateness
from labsupport.grading.ledger.kept import Pair
from labsupport.grading.ledger.standing import standings


@dataclass
class Row:
    """One submission in the table. ``error`` says why it could not be graded at all."""

    student: str
    assignment: str
    score: float = 0.0
    max_score: float = 0.0
    late_seconds: float = 0.0
    waiting: int = 0  # answers that wait to be graded by hand
    lost: dict[str, str] = field(default_factory=dict)  # exercise -> its verdict, points if any
    error: str = ""
    penalty: float = 0.0
    late: str = ""  # in words
    notes: list[str] = field(default_factory=list)  # what else there is to say


def read_rows(
    folder: Path,
    todo: list[Pair],
    errors: dict[Pair, str],
    notes: dict[Pair, list[str]] | None = None,
) -> list[Row]:
    """Every submission as the gradebook has it now."""
    labs = sorted({assignment for assignment, _ in todo})
    known = {(one.assignment, one.student): one for one in standings(folder, labs)}
    rows = []
    for pair in todo:
        one = known[pair]
        trouble = one.reason if one.state in ("unreadable", "failed") else ""
        rows.append(
            Row(
                one.student,
                one.assignment,
                score=one.score or 0.0,
                max_score=one.max_score,
                late_seconds=one.late_seconds,
                waiting=one.waiting,
                lost=_lost(folder, *pair),
                error=trouble or errors.get(pair, ""),
                penalty=one.penalty,
                late=lateness(one),
                notes=(notes or {}).get(pair, []),
            )
        )
    return rows


def _lost(folder: Path, assignment: str, student: str) -> dict[str, str]:
    path = folder / "autograded" / student / assignment / f"{assignment}.ipynb"
    if not path.exists():
        return {}
    about = json.loads(path.read_text("utf-8"))["metadata"].get("labsupport_grading", {})
    return {
        v["exercise"]: v["status"]
        + (f", {v['points']:g} of {v['max_points']:g}" if v["points"] else "")
        for v in about.get("verdicts", [])
        if v["status"] != "passed" and v["max_points"]
    }
