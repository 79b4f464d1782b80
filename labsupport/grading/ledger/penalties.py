"""Late penalties, worked out anew from what the gradebook says now: the time of hand-in, the due
date, an extension, the points, and the course's late policy, which is nbgrader's plug-in.

A penalty that a person has set in the gradebook stays: one that is not what was last worked out.
"""

import logging
from pathlib import Path

from nbformat.v4 import new_notebook
from nbgrader.api import Gradebook, SubmittedAssignment
from nbgrader.apps.api import NbGraderAPI
from nbgrader.converters import Autograde
from nbgrader.preprocessors import AssignLatePenalties
from traitlets.utils.importstring import import_item

from labsupport.grading.ledger.kept import Pair, keep, read_kept

UNKNOWN = "unknown"  # nbgrader has worked it out by itself since


class LatePenalties:
    """The late policy of a course, which is set as for nbgrader's own ``autograde``."""

    def __init__(self, api: NbGraderAPI, folder: Path):
        self._folder, self._db_url = folder, api.coursedir.db_url
        self._step = _step(api)

    def work_out(self, gradebook: Gradebook, pair: Pair) -> str:
        """Set the penalty of a submission; what there is to say about it, or "".

        Raises whatever the course's plug-in raises.
        """
        submission = gradebook.find_submission(*pair)
        kept = read_kept(self._folder, pair)
        there, left = _penalty(submission), kept.get("penalty")
        by_hand = kept.get("penalty_by_hand")
        if isinstance(left, int | float) and not _same(left, there):
            by_hand = there
        if by_hand is not None:
            _set(gradebook, submission, by_hand)
            keep(self._folder, pair, penalty=by_hand, penalty_by_hand=by_hand)
            return f"its late penalty, {by_hand:g}, was set by hand and is kept"
        if self._step is not None and (there or submission.total_seconds_late > 0):
            keep(self._folder, pair, penalty=UNKNOWN)  # a run that is killed here leaves no riddle
            self._run(*pair)
            gradebook.db.expire_all()
            there = _penalty(gradebook.find_submission(*pair))
        keep(self._folder, pair, penalty=there)
        return ""

    def _run(self, assignment: str, student: str) -> None:
        about = {
            "assignment": assignment,
            "student": student,
            "notebook": assignment,
            "db_url": self._db_url,
        }
        assert self._step is not None
        self._step.preprocess(new_notebook(), {"nbgrader": about})


def forget_worked_out(folder: Path, pair: Pair) -> None:
    """To be said before nbgrader works a penalty out by itself: it is nobody's word then."""
    if "penalty" in read_kept(folder, pair):
        keep(folder, pair, penalty=UNKNOWN)


def _step(api: NbGraderAPI) -> AssignLatePenalties | None:
    """The step of the course's autograde that assigns penalties; None where it has none."""
    for named in Autograde(coursedir=api.coursedir, parent=api).autograde_preprocessors:
        step = import_item(named) if isinstance(named, str) else named
        if isinstance(step, type) and issubclass(step, AssignLatePenalties):
            quiet = logging.getLogger("labs.late")  # it warns of everyone who is late
            quiet.propagate = False
            quiet.addHandler(logging.NullHandler())
            return step(config=api.config, log=quiet)
    return None


def _penalty(submission: SubmittedAssignment) -> float:
    return float(sum(n.late_submission_penalty or 0 for n in submission.notebooks))


def _set(gradebook: Gradebook, submission: SubmittedAssignment, value: float) -> None:
    for notebook in submission.notebooks:  # a lab has one
        if not _same(notebook.late_submission_penalty or 0, value):
            notebook.late_submission_penalty = value
    gradebook.db.commit()


def _same(one: float, other: float) -> bool:
    return abs(float(one) - float(other)) < 1e-6
