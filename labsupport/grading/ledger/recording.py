"""Recording of what grading has found: the trusted end of the pipeline, and the only writer.

Grades go into nbgrader's gradebook through nbgrader's own Autograde.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.converters import Autograde
from nbgrader.converters.base import BaseConverter
from nbgrader.utils import capture_log

from labsupport.grading.ledger.course_directory import last_error
from labsupport.grading.ledger.kept import Pair
from labsupport.grading.ledger.submitted import SubmittedExporter
from labsupport.grading.submission.points import has_points
from labsupport.grading.workers.task import GradingTask


class Record(Autograde):
    """nbgrader's Autograde where a submission has been brought into form and graded already.

    Its second half only, of which the first step, ``ExecuteAndJudge``, finds the graded notebook;
    and no look at metadata, for they are our own.
    """

    autograde_preprocessors: Any  # nbgrader's traits
    exporter_class: Any

    def _init_preprocessors(self) -> None:
        self.autograde_preprocessors = [
            step for step in self.autograde_preprocessors if "CheckCellMetadata" not in str(step)
        ]
        super()._init_preprocessors()

    def convert_single_notebook(self, notebook_filename: str) -> None:
        self._sanitizing = False
        self._init_preprocessors()  # the second half's steps
        self.exporter.optimistic_validation = True  # after all of them, not after each
        self._sanitizing = True  # on what the first half would read: the notebook as handed in
        BaseConverter.convert_single_notebook(self, notebook_filename)


def record(api: NbGraderAPI, assignment: str, student: str) -> str:
    """Write a graded submission into the gradebook and ``autograded/``; "" or what went wrong."""
    coursedir = api.coursedir
    before = coursedir.assignment_id, coursedir.student_id
    coursedir.assignment_id, coursedir.student_id = assignment, student
    try:
        converter = Record(coursedir=coursedir, parent=api)
        converter.force = converter.create_student = True
        converter.exporter_class = SubmittedExporter  # in courses older than it too
        result = capture_log(converter)
    finally:
        coursedir.assignment_id, coursedir.student_id = before
    return "" if result["success"] else last_error(result)


def is_recorded(gradebook: Gradebook, folder: Path, pair: Pair, task: GradingTask) -> bool:
    """Whether this very result is in the gradebook, with the time at which it was handed in and
    the points that its lab gives now.

    nbgrader writes the autograded notebook last, so it stands for all that went before.
    """
    assignment, student = pair
    done = folder / "autograded" / student / assignment
    handed_in = folder / "submitted" / student / assignment
    try:
        text = (done / f"{assignment}.ipynb").read_text(encoding="utf-8")
        notebook = json.loads(text)
        about = notebook["metadata"]["labsupport_grading"]
        if about.get("fingerprint") != task.fingerprint or _time(done) != _time(handed_in):
            return False
        if not has_points(notebook, task.stem, task.lab):
            return False
        gradebook.find_submission(assignment, student)
    except (OSError, ValueError, KeyError, TypeError):  # MissingEntry is a ValueError
        return False
    return True


def _time(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / "timestamp.txt").read_text(encoding="utf-8", errors="replace")
    return ""
