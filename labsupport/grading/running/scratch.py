"""Temporary folders that do not pile up, however their process ends.

Every process that grades has one folder, and holds a lock on it. It removes the folder at its
end; where it was killed, the lock went with it, and the next process to begin removes the folder.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from multiprocessing.util import Finalize
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a student may check a notebook: nothing is swept there
    fcntl = None  # type: ignore[assignment]

PREFIX = "labs-scratch-"
# Sockets lie in the folders, up to 59 bytes further down, and a socket's path has at most 107.
LONGEST = 107 - 59


@lru_cache(maxsize=1)
def scratch() -> Path:
    """This process's temporary folder; readable by its user only."""
    if fcntl is None:
        made = Path(tempfile.mkdtemp(prefix=PREFIX))
        at_end(shutil.rmtree, made, ignore_errors=True, priority=0)
        return made
    sweep()
    made = Path(tempfile.mkdtemp(prefix="labs-new-", dir=_place()))
    descriptor = os.open(made, os.O_RDONLY)  # stays open: the lock lasts as long as the process
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    folder = made.rename(made.with_name(made.name.replace("labs-new-", PREFIX)))
    at_end(shutil.rmtree, folder, ignore_errors=True, priority=0)
    return folder


def discard() -> None:
    """Remove this process's folder, and those of processes that are no more, at once."""
    if scratch.cache_info().currsize:
        shutil.rmtree(scratch(), ignore_errors=True)
    sweep()


def at_end(action: Callable, *given, priority: int, **named) -> Finalize:
    """Have something done when this process ends, by itself and not by a fork of it; high
    priorities come first. ``cancel()`` takes it back.

    As atexit does, but also in a process that multiprocessing has forked, which passes atexit by.
    """
    return Finalize(None, action, given, named, exitpriority=priority)


def sweep() -> None:
    """Remove the folders of this user's processes that are no more."""
    if fcntl is None:
        return
    for folder in Path(_place()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another process's, still held, or just swept
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.getuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _place() -> str:
    """Where the user wants temporary folders, or /tmp where that has too long a name (a batch
    system's TMPDIR, say)."""
    wanted = tempfile.gettempdir()
    return wanted if len(os.fsencode(wanted)) <= LONGEST else "/tmp"
