"""Spread grading tasks over processes, or a cluster, with Dask.

Workers get a task as text and give back text: no shared file system is assumed.
"""

import contextlib
from collections.abc import Iterator

from dask.distributed import Client, LocalCluster, as_completed

from labsupport.grading.task import GradingTask, perform

RETRIES = 2  # of a lost worker; a student's failure is a result, not an error


def spread(
    tasks: list[GradingTask], jobs: int, scheduler: str = ""
) -> Iterator[tuple[GradingTask, str | Exception]]:
    """Yield each task with its result, in the order in which they are done.

    ``jobs`` worker processes on this machine, or those of the cluster behind ``scheduler``
    (``tcp://host:port``). A task that fails for reasons of its own comes with its exception.
    """
    with _client(min(jobs, len(tasks)), scheduler) as client:
        futures = {
            client.submit(perform, task, key=f"grade-{task.fingerprint}", retries=RETRIES): task
            for task in tasks
        }
        for future in as_completed(futures):
            task = futures[future]
            try:
                yield task, future.result()
            except Exception as error:  # reported with the submission; the others go on
                yield task, error


@contextlib.contextmanager
def _client(jobs: int, scheduler: str) -> Iterator[Client]:
    if scheduler:
        with Client(scheduler, timeout=30) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=max(jobs, 1),
            threads_per_worker=1,  # a worker changes its process while it grades
            dashboard_address=None,
            host="127.0.0.1",
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
