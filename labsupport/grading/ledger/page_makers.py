"""Feedback pages of a run, made beside other work.

Making a page takes longer than recording a grade and writes no grade, so other processes of this
machine make them meanwhile.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from nbgrader.apps.api import NbGraderAPI

from labsupport.grading.ledger.course_directory import course_api
from labsupport.grading.ledger.kept import Pair
from labsupport.grading.ledger.pages import make_page, page_is_current
from labsupport.grading.workers.forks import deaf

FEW = 4  # pages; for so few, starting processes takes longer than it saves


class FeedbackPages:
    """Pages that are asked for with ``make``; ``wait`` yields (pair, reason) of each, "" where it
    could be made."""

    def __init__(self, api: NbGraderAPI, folder: Path, jobs: int):
        self._api, self._folder, self._jobs = api, folder, jobs
        self._asked: list[Pair] = []
        self._sent: list[Future] = []
        self._pool: ProcessPoolExecutor | None = None

    def make(self, pair: Pair) -> None:
        """Have a page made, unless nothing on the one that is there has changed."""
        if page_is_current(self._api, *pair):
            return
        self._asked.append(pair)
        if self._jobs > 1 and len(self._asked) >= FEW:
            self._send()

    @property
    def count(self) -> int:
        return len(self._asked)

    def wait(self) -> Iterator[tuple[Pair, str]]:
        """The pages in the order in which they were asked for, each once it is there."""
        for place, pair in enumerate(self._asked):
            yield pair, self._sent[place].result() if self._pool else make_page(self._api, *pair)

    def close(self, at_once: bool = False) -> None:
        """End the processes; ``at_once``: whatever they are at."""
        if self._pool is None:
            return
        makers = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=not at_once, cancel_futures=at_once)
        for maker in makers if at_once else ():
            maker.terminate()

    def _send(self) -> None:
        if self._pool is None:
            start = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, start, _begin, (self._folder,))
        for pair in self._asked[len(self._sent) :]:
            with deaf():  # the pool starts processes when it is given work
                self._sent.append(self._pool.submit(_make_there, *pair))


@contextlib.contextmanager
def feedback_pages(api: NbGraderAPI, folder: Path, jobs: int) -> Iterator[FeedbackPages]:
    """``FeedbackPages``, made by ``jobs`` processes; a few are made here."""
    pages = FeedbackPages(api, folder, jobs)
    try:
        yield pages
    except BaseException:  # an interrupted run does not wait for pages
        pages.close(at_once=True)
        raise
    pages.close()


_here: list[NbGraderAPI] = []  # the API of a process that makes feedback pages


def _begin(folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the run to act on
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
