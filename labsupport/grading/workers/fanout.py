"""Distribution of grading tasks over processes, or a cluster, with Dask.

Workers get a task as text and give back text: no shared file system is assumed. What fails for
reasons of the machine's is tried again; a student's failure is a result and is not. What took too
long, or could not be graded, is tried once more when all else is done, alone.
"""

import contextlib
import math
import pkgutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import dask
from dask.distributed import (
    Client,
    Future,
    KilledWorker,
    LocalCluster,
    TimeoutError,
    get_worker,
    wait,
)
from tqdm import tqdm

from labsupport.errors import CourseError, LabError
from labsupport.grading.running.sandbox.asking import Place
from labsupport.grading.running.scratch import scratch
from labsupport.grading.workers.forks import prepare_workers
from labsupport.grading.workers.task import GradingTask, perform, took_too_long, versions
from labsupport.grading.workers.warmth import Needs, end_all_but, needs_of, warmed

Label = TypeVar("Label")
RETRIES = 1  # of a task that fails: a full disk, a sandbox that does not start; maybe elsewhere
ANSWER_SECONDS = 30  # a scheduler that does not answer in this time is not there
LOOK_SECONDS = 2  # between two looks at whether there is any worker
CUT_LOOK_SECONDS = 0.1  # between two looks at whether the scheduler is there again
SAY_SECONDS = 60  # between two words that there is none
IDLE_SECONDS = 300  # a cluster without any worker is waited for as long as this
LEAST_SENT = 64  # tasks that a cluster knows of at once: enough for it to grow to
ONE_EACH = {
    # a worker gets its next task when it has done one: a death costs no other submission a try
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.comm.timeouts.connect": "120s",  # a busy machine imports torch for long
    "distributed.worker.multiprocessing-method": "forkserver",  # see ``forks``
}


class WorkersDied(LabError):
    """The processes that graded a submission died, one after the other."""


def on_a_line(text: str) -> None:
    """Say something beside a progress bar."""
    tqdm.write(f"labs: {text}", file=sys.stderr)


@dataclass
class Unfit:
    """A worker's word that a grade of its would not be the one made here."""

    reason: str


def perform_all(
    tasks: Iterable[tuple[Label, GradingTask]],
    jobs: int,
    scheduler: str = "",
    say: Callable[[str], None] = on_a_line,
) -> Iterator[tuple[Label, str | Exception]]:
    """Yield each task's label with its result, in the order in which they are done.

    ``jobs`` worker processes on this machine, or those of the cluster behind ``scheduler``
    (``tcp://host:port``). Tasks are taken as they are needed, so that a large class need not be
    held in memory. A task that fails for reasons of its own comes with its exception. One that
    fails, or in which something took too long, comes after all others, tried again with none
    beside it. While the cluster has no worker ``say`` is told now and then.
    Raises CourseError where the cluster cannot go on: its scheduler or all its workers are gone,
    or a worker has other versions or several threads.
    """
    alone: list[tuple[Label, GradingTask]] = []
    with _warmth(scheduler), _client(jobs, scheduler) as client:
        if scheduler:
            _see_that_workers_can_grade(client)
        # not all at once: the scheduler may live in this process, and holds what it is sent
        most = max(2 * sum(client.nthreads().values()), LEAST_SENT if scheduler else 0)
        for label, task, outcome in _outcomes(client, tasks, most, scheduler, say):
            if isinstance(outcome, Exception) or took_too_long(outcome):
                alone.append((label, task))
            else:
                yield label, outcome
        for label, _, outcome in _outcomes(client, alone, 1, scheduler, say, "alone"):
            yield label, outcome


def _outcomes(
    client: Client,
    tasks: Iterable[tuple[Label, GradingTask]],
    most: int,
    scheduler: str,
    say: Callable[[str], None],
    how: str = "grade",
) -> Iterator[tuple[Label, GradingTask, str | Exception]]:
    """Label, task and outcome of each, as they are done, with at most ``most`` under way."""
    todo, here = iter(tasks), versions()
    sent: dict[Future, tuple[Label, GradingTask]] = {}

    def send(label: Label, task: GradingTask) -> None:
        place = None if scheduler else _warmed(task)
        sent[_send(client, task, here, place, how)] = label, task

    while True:
        for label, task in islice(todo, most - len(sent)):
            send(label, task)
        if not sent:
            return
        if not scheduler:
            end_all_but({_needs(task) for _, task in sent.values()})
        try:
            for future in _next_done(client, list(sent), scheduler, say):
                outcome = _outcome(future)
                label, task = sent.pop(future)
                del future  # a result that is known here need not be kept there
                yield label, task, outcome
        except CancelledError:  # the scheduler forgets what a client that is cut off has asked for
            _see_that_it_is_back(client, scheduler)
            say(f"{scheduler or 'the scheduler'} was cut off; {len(sent)} are sent again")
            lost = list(sent.values())
            sent.clear()
            for label, task in lost:
                send(label, task)


def _see_that_it_is_back(client: Client, scheduler: str) -> None:
    """Wait until a client that was cut off has its scheduler again. Raises CourseError where it
    gave up, after ``ANSWER_SECONDS``."""
    while client.status != "running":
        if client.status != "connecting":
            raise _gone(scheduler)
        time.sleep(CUT_LOOK_SECONDS)


def _send(
    client: Client, task: GradingTask, here: dict[str, str], place: Place | None, how: str
) -> Future:
    key = f"{how}-{task.fingerprint}"
    return client.submit(_on_worker, task, here, place, key=key, retries=RETRIES)


@contextlib.contextmanager
def _warmth(scheduler: str) -> Iterator[None]:
    """What was warmed for this machine's workers ends with them."""
    try:
        yield
    finally:
        if not scheduler:
            end_all_but(())


def _needs(task: GradingTask) -> Needs:
    return needs_of(task.stem, task.lab, task.sandbox)


def _warmed(task: GradingTask) -> Place | None:
    """The warm process of this machine for a task; without one a worker starts its own, and says
    what is wrong."""
    with contextlib.suppress(LabError, OSError):
        return warmed(_needs(task))
    return None


def _on_worker(task: GradingTask, wanted: dict[str, str], place: Place | None) -> str | Unfit:
    worker, found = get_worker(), versions()
    for name, version in wanted.items():
        if found.get(name) != version:
            return Unfit(
                f"{worker.address} has {name} {found.get(name)}, not {version} as here, "
                "and a grade may depend on it: install the same there"
            )
    if worker.state.nthreads != 1:
        return Unfit(
            f"{worker.address} has {worker.state.nthreads} threads, and grading changes "
            "its process: start it with --nthreads 1, and --nworkers for several"
        )
    return perform(task, place)


def _see_that_workers_can_grade(client: Client) -> None:
    """Raise CourseError where a worker lacks what grading needs: it would end without a word."""
    found = client.run(pkgutil.resolve_name, f"{__name__}:_on_worker", on_error="return")
    for address, error in found.items():
        if isinstance(error, Exception):
            raise CourseError(
                f"worker {address} cannot grade: {error}: install the same labsupport there, "
                "with its extra [grading]"
            )


def _next_done(
    client: Client, futures: list[Future], scheduler: str, say: Callable[[str], None]
) -> set[Future]:
    """Wait until some are done. Raises CourseError where nobody is left to do them, and
    CancelledError where the connection was lost."""
    begin, said = time.monotonic(), -math.inf
    start = f"start one with 'dask worker {scheduler} --nthreads 1'"
    while True:
        try:
            return wait(futures, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            now = time.monotonic()
            if client.status != "running":
                continue  # cut off: what was sent is about to be cancelled
            if client.nthreads():
                begin, said = now, -math.inf
            elif now - begin > IDLE_SECONDS:
                raise CourseError(
                    f"no worker has been at {scheduler or 'work'} for {IDLE_SECONDS} s: {start}, "
                    "then run again"
                ) from None
            elif scheduler and now - said >= SAY_SECONDS:
                said, left = now, IDLE_SECONDS - (now - begin)
                say(f"{scheduler} has no worker: {start}; waiting for {left:.0f} s")


def _outcome(future: Future) -> str | Exception:
    try:
        result = future.result()
    except KilledWorker as error:
        return WorkersDied(
            f"the {error.allowed_failures + 1} processes that graded it died, one after the other "
            "(too little memory?): run again to try again"
        )
    except CancelledError:
        raise
    except Exception as error:  # reported with the submission; the others go on
        return error
    if isinstance(result, Unfit):
        raise CourseError(f"worker {result.reason}")
    return result


def _gone(scheduler: str) -> CourseError:
    return CourseError(
        f"the Dask scheduler{f' {scheduler}' if scheduler else ''} is gone: what is done stays "
        "done; run again to go on"
    )


@contextlib.contextmanager
def _client(jobs: int, scheduler: str) -> Iterator[Client]:
    if scheduler:
        try:
            client = Client(scheduler, timeout=ANSWER_SECONDS)
        except OSError:
            raise CourseError(
                f"no Dask scheduler answers at {scheduler}: start one with 'dask scheduler'"
            ) from None
        with client:
            yield client
        return
    prepare_workers()
    with (
        dask.config.set(ONE_EACH | {"temporary-directory": str(scratch())}),
        LocalCluster(
            n_workers=max(jobs, 1),
            threads_per_worker=1,  # a worker changes its process while it grades
            dashboard_address="127.0.0.1:0",  # any free port
            host="127.0.0.1",
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
