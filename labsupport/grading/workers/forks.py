"""Process that this machine's workers are forked from. Imports nothing slow itself."""

import contextlib
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
from collections.abc import Iterator


def prepare_workers() -> None:
    """Start it, in the background: it imports torch, once for all workers, while this process does
    something else. Where it runs already, nothing happens; it ends with this process."""
    multiprocessing.forkserver.set_forkserver_preload(["labsupport.grading.workers.preload"])
    with deaf():
        multiprocessing.forkserver.ensure_running()


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """What is started in here does not hear Ctrl-C, which a terminal sends to all: this process
    hears it, and ends them."""
    _start_tracker()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """multiprocessing's tracker removes what a run that was stopped has left, and says nothing."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        multiprocessing.resource_tracker.ensure_running()
    finally:
        del os.environ["PYTHONWARNINGS"]
        if before is not None:
            os.environ["PYTHONWARNINGS"] = before
