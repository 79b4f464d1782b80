"""What a person has graded, kept when a submission is graded anew.

nbgrader asks for every hand grade again after each new run. Here one is asked for again only where
what it was given for has changed: the answer's text, or the exercise's code or its verdict.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from nbgrader.api import Grade, Gradebook, MissingEntry, SubmittedAssignment

from labsupport.grading.ledger.kept import Pair, keep, read_kept


def remember(folder: Path, gradebook: Gradebook, pair: Pair) -> None:
    """To be said before a submission is graded anew: note what has been graded by hand."""
    try:
        submission = gradebook.find_submission(*pair)
    except MissingEntry:
        return
    marks = _marks(folder, pair)
    given = {
        grade.cell.name: marks.get(grade.cell.name, "")  # "": nobody knows what it was given for
        for grade in _grades(submission)
        if grade.manual_score is not None and not grade.needs_manual_grade
    }
    known = read_kept(folder, pair).get("by_hand", {})  # of a run that was killed in between
    if given or known:
        keep(folder, pair, by_hand=given | known)


def recall(folder: Path, gradebook: Gradebook, pair: Pair, exempt: set[str]) -> list[str]:
    """After it: what has not changed need not be graded again. Returns the cells that must be,
    of those that count."""
    given = read_kept(folder, pair).get("by_hand")
    marks = _marks(folder, pair)
    if not given or not marks:
        return []
    changed = []
    for grade in _grades(gradebook.find_submission(*pair)):
        name = grade.cell.name
        if name not in given or grade.manual_score is None:
            continue
        if marks.get(name) == given[name]:
            grade.needs_manual_grade = False
        elif grade.needs_manual_grade and name not in exempt and grade.cell.max_score:
            changed.append(name)
    gradebook.db.commit()
    keep(folder, pair, by_hand=None)
    return sorted(changed)


def _grades(submission: SubmittedAssignment) -> list[Grade]:
    return [grade for notebook in submission.notebooks for grade in notebook.grades]


def _marks(folder: Path, pair: Pair) -> dict[str, str]:
    """By grade cell, a hash of what a person looks at who grades it; {} where nothing is there."""
    assignment, student = pair
    path = folder / "autograded" / student / assignment / f"{assignment}.ipynb"
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        verdicts = notebook["metadata"]["labsupport_grading"]["verdicts"]
        shares = {v["exercise"]: [v["status"], _earned(v)] for v in verdicts}
        cells = {_id(cell): cell for cell in notebook["cells"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found = {}
    for name, cell in cells.items():
        kind, _, exercise = name.partition("-")
        if kind == "judge":
            code = cells.get(f"exercise-{exercise}", {})
            found[name] = _hash(code.get("source"), shares.get(exercise))
        elif cell.get("metadata", {}).get("nbgrader", {}).get("grade"):
            found[name] = _hash(cell.get("source"), cell.get("attachments"))
    return found


def _earned(verdict: dict[str, Any]) -> list[str]:
    return sorted(p["part"] for p in verdict.get("parts", []) if p["points"] > 0)


def _id(cell: dict[str, Any]) -> str:
    about = cell.get("metadata", {}).get("nbgrader", {})
    return str(about.get("grade_id") or cell.get("id", ""))


def _hash(source: str | list[str] | None, beside: Any) -> str:
    text = json.dumps(["".join(source or ""), beside], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
