"""Recording of what grading has found: the trusted end of the pipeline, and the only writer.

Grades go into nbgrader's gradebook through nbgrader's own Autograde. Feedback pages are nbgrader's
too; making one takes longer than recording a grade and writes no grade, so other processes of
this machine make them meanwhile.
"""

import contextlib
import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps.api import NbGraderAPI
from nbgrader.converters import Autograde
from nbgrader.converters.base import BaseConverter
from nbgrader.utils import capture_log

from labsupport.grading.ledger.course_directory import course_api, last_error
from labsupport.grading.ledger.pages import make_page, page_is_current
from labsupport.grading.ledger.submitted import SubmittedExporter

FEW = 4  # feedback pages; for so few, starting processes takes longer than it saves


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


def is_recorded(
    api: NbGraderAPI, folder: Path, assignment: str, student: str, fingerprint: str
) -> bool:
    """Whether this very result is in the gradebook, with the time at which it was handed in.

    nbgrader writes the autograded notebook last, so it stands for all that went before.
    """
    done = folder / "autograded" / student / assignment
    handed_in = folder / "submitted" / student / assignment
    try:
        text = (done / f"{assignment}.ipynb").read_text(encoding="utf-8")
        about = json.loads(text)["metadata"]["labsupport_grading"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if about.get("fingerprint") != fingerprint or _time(done) != _time(handed_in):
        return False
    with Gradebook(api.coursedir.db_url, api.coursedir.course_id) as gradebook:
        try:
            gradebook.find_submission(assignment, student)
        except MissingEntry:
            return False
    return True


class FeedbackPages:
    """Makes feedback pages beside other work; ``wait`` yields ((assignment, student), reason) of
    those that could not be made."""

    def __init__(self, api: NbGraderAPI, folder: Path, pool: Executor | None):
        self._api, self._folder, self._pool = api, folder, pool
        self._asked: list[tuple[tuple[str, str], Future | str]] = []

    def make(self, assignment: str, student: str) -> None:
        """Have a page made, unless nothing on the one that is there has changed."""
        if page_is_current(self._api, assignment, student):
            return
        if self._pool is None:
            reason: Future | str = make_page(self._api, assignment, student)
        else:
            reason = self._pool.submit(_make_there, assignment, student)
        self._asked.append(((assignment, student), reason))

    @property
    def count(self) -> int:
        return len(self._asked)

    def wait(self) -> Iterator[tuple[tuple[str, str], str]]:
        for pair, reason in self._asked:
            yield pair, reason if isinstance(reason, str) else reason.result()


@contextlib.contextmanager
def feedback_pages(api: NbGraderAPI, folder: Path, jobs: int, count: int):
    """``FeedbackPages`` for ``count`` pages, made by ``jobs`` processes; a few are made here."""
    if jobs < 2 or count < FEW:
        yield FeedbackPages(api, folder, None)
        return
    start = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, start, _begin, (folder,)) as pool:
        yield FeedbackPages(api, folder, pool)


_here: list[NbGraderAPI] = []  # the API of a process that makes feedback pages


def _begin(folder: Path) -> None:
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    _here.append(contextlib.ExitStack().enter_context(course_api(folder)))


def _end_with_the_run() -> None:
    """A run that is killed tells nobody, and a pool's process would wait for its next task."""
    run = multiprocessing.parent_process()
    if run is not None:
        run.join()
        os._exit(1)


def _make_there(assignment: str, student: str) -> str:
    return make_page(_here[0], assignment, student)


def _time(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / "timestamp.txt").read_text(encoding="utf-8", errors="replace")
    return ""
