"""The process that this machine's workers are forked from. Imports nothing slow itself."""

import multiprocessing.forkserver

# What each worker would otherwise import by itself; nothing here starts a thread.
PRELOADED = ["distributed", "labsupport.grading.submission"]


def prepare_workers() -> None:
    """Start it, in the background: it imports torch, once for all workers, while this process does
    something else. Where it runs already, nothing happens; it ends with this process."""
    multiprocessing.forkserver.set_forkserver_preload(PRELOADED)
    multiprocessing.forkserver.ensure_running()
