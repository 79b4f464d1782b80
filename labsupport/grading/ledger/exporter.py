"""Exporter of nbgrader's ``autograde``: files are read as ours, the course is held meanwhile.

nbgrader removes a student's autograded folder before the first step of its pipeline; the exporter
is what it makes before that.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from nbgrader.converters.base import NbGraderException

from labsupport.errors import CourseError
from labsupport.grading.ledger.lock import held
from labsupport.grading.ledger.submitted import SubmittedExporter

WAIT_SECONDS = 30  # for a run of 'labs grade' that is about to end


class CourseExporter(SubmittedExporter):
    """What ``c.Autograde.exporter_class`` is set to in a course's configuration."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        if self.parent is not None:
            self.parent.convert_notebooks = _alone(self.parent, self.parent.convert_notebooks)


def _alone(converter: Any, work: Callable[[], None]) -> Callable[[], None]:
    @wraps(work)
    def convert_notebooks() -> None:
        try:
            with held(Path(converter.coursedir.root), WAIT_SECONDS):
                work()
        except CourseError as error:  # nbgrader shows what it has logged
            converter.log.error(str(error))
            raise NbGraderException(str(error)) from None

    return convert_notebooks
