"""Process that this machine's workers are forked from. Imports nothing slow itself."""

import multiprocessing.forkserver


def prepare_workers() -> None:
    """Start it, in the background: it imports torch, once for all workers, while this process does
    something else. Where it runs already, nothing happens; it ends with this process."""
    multiprocessing.forkserver.set_forkserver_preload(["labsupport.grading.workers.preload"])
    multiprocessing.forkserver.ensure_running()
