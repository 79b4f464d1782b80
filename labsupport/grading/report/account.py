"""A graded notebook's own account of its grading: verdicts, repairs, how it ran.

What stands in a notebook is checked for its form before it is used: another pipeline, or a
student, may have written it.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsupport.answers.text import one_line
from labsupport.grading.judging.verdicts import STATUSES

if TYPE_CHECKING:
    from labsupport.grading.report.data import Run


def account_of(path: Path) -> dict | None:
    """A graded notebook's own account of its grading; {} where it has none."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
        about = loaded.get("metadata", {}).get("labsupport_grading", {})
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return about if isinstance(about, dict) else {}


def read_account(run: "Run", about: dict) -> None:
    """Take verdicts, repairs and provenance of it into a run."""
    for verdict in _list(about.get("verdicts")):
        if isinstance(verdict, dict) and verdict.get("status") in STATUSES:
            name = one_line(verdict.get("exercise", ""), 100)
            run.verdicts[name] = (verdict["status"], one_line(verdict.get("message", "")))
            run.hints[name] = one_line(verdict.get("hint", ""))
    run.repairs = [one_line(r, 300) for r in _list(about.get("repairs"))]
    provenance = about.get("provenance")
    if not isinstance(provenance, dict):
        return
    seconds = provenance.get("seconds")
    if isinstance(seconds, int | float) and math.isfinite(seconds):
        run.seconds = float(seconds)
    if isinstance(provenance.get("sandbox"), bool):
        run.sandbox = provenance["sandbox"]
    deaths = provenance.get("deaths")
    run.deaths = [one_line(d, 200) for d in deaths.values()] if isinstance(deaths, dict) else []
    names = ("labsupport", "nbgrader", "papermill", "torch", "python", "profile")
    run.versions = ", ".join(
        f"{name} {one_line(provenance[name], 40)}" for name in names if name in provenance
    )


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []
