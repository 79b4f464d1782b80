"""One Ctrl-C, or SIGTERM, ends a command: within seconds, with one line, and nothing left behind.

A command stops in one of two ways. *Orderly*: KeyboardInterrupt is raised where it works, so that
what it has open is closed; for those that do their own work. *At once*: the process ends as if it
were killed, once it has ended all that it started and removed their temporary files; for those
with workers, whose ends nobody wants to wait for. What they keep is whole at every moment: a run
may be killed without warning, too. Where the orderly way takes too long, the other follows.

All of this is done by a thread of its own, which the signal's own handler wakes: the main thread
may be in the middle of anything.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
UNWIND_SECONDS = 1.5  # for an orderly end
KILL_SECONDS = 1.0  # until all that was started has ended
PR_SET_CHILD_SUBREAPER = 36  # of prctl(2)
GO_ON = "what is done is kept: run the same command again to go on"


class _Command:
    """What is known of the command that runs; the main thread writes, the other reads."""

    listening = False
    orderly = False
    raised = 0  # the signal
    go_on = GO_ON


def listen() -> None:
    """Be ready, if this process is a command of ours; as early as can be."""
    named = Path(sys.argv[0]).stem == "labs" or "labsupport.cli" in sys.orig_argv
    # a worker imports the main module too, and is no command for that
    worker = any("multiprocessing" in word for word in sys.orig_argv)
    if not named or worker or os.name == "nt" or _Command.listening:
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(read,), daemon=True).start()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _handle)
    _Command.listening = True


def leave() -> None:
    """Leave signals to somebody else from here on."""
    if _Command.listening:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)


def at_once(go_on: str = GO_ON) -> None:
    """From here on a signal ends the command at once, and says how to ``go_on``."""
    _Command.orderly, _Command.go_on = False, go_on


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """A signal raises KeyboardInterrupt in here, and the command ends with one line."""
    _Command.orderly, _Command.go_on = True, GO_ON
    try:
        yield
    except KeyboardInterrupt:
        if _Command.listening:
            _end(_Command.raised or signal.SIGINT)
        _say()
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        _Command.orderly = False


def _handle(number: int, frame: FrameType | None) -> None:
    """In the main thread, as soon as it can: raise, or do nothing more."""
    if _Command.orderly:
        if not _Command.raised:
            _Command.raised = number
            raise KeyboardInterrupt
        return
    time.sleep(UNWIND_SECONDS + 3 * KILL_SECONDS)  # the other thread ends us long before
    os._exit(128 + number)


def _wait(pipe: int) -> None:
    number = 0
    while number not in SIGNALS:
        number = os.read(pipe, 1)[0]
    if _Command.orderly:
        time.sleep(UNWIND_SECONDS)
    _end(number)


def _end(number: int) -> None:
    _say()
    _be_silent()
    try:
        _kill_family()
        _remove_temporary()
    finally:
        os._exit(128 + number)


_said = threading.Lock()


def _say() -> None:
    if _said.acquire(blocking=False):
        start = "\n" if os.isatty(2) else ""  # a progress bar has the line
        with contextlib.suppress(OSError):
            os.write(2, f"{start}labs: stopped; {_Command.go_on}\n".encode())


def _be_silent() -> None:
    """Say no more: a worker that another thread is just starting would, when it finds us gone."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)


def _kill_family() -> None:
    """End all that this process has started, until there is nobody."""
    until, killed = time.monotonic() + KILL_SECONDS, set[int]()
    # one whose parent dies first holds its folder until it has ended, and would be nobody's child
    _adopt()
    while (alive := {*_family(), *filter(_lives, killed)}) and time.monotonic() < until:
        killed |= alive
        for pid in alive:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _adopt() -> None:
    """Have those whose parents end become this process's children, where the system can (Linux)."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _family() -> list[int]:
    """This process's children and theirs, as far as they live; where there is no /proc none: they
    see by themselves that it is gone. multiprocessing's tracker is left to remove what we leave.
    """
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            words = place.read_text(errors="replace").rpartition(")")[2].split()
            if _lives(pid := int(place.parent.name)):
                children.setdefault(int(words[1]), []).append(pid)
    found, todo = [], [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        todo += below
        found += [pid for pid in below if not _is_tracker(pid)]
    return found


def _lives(pid: int) -> bool:
    """Whether a process has not ended; its first thread may have, and the others hold its files."""
    with contextlib.suppress(OSError):
        if len(os.listdir(f"/proc/{pid}/task")) > 1:
            return True
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return words[0] not in "ZX"
    return False


def _is_tracker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _remove_temporary() -> None:
    """Remove temporary folders; what was never imported has made none."""
    if scratch := sys.modules.get("labsupport.grading.running.scratch"):
        scratch.discard()
    if util := sys.modules.get("multiprocessing.util"):
        folder, until = Path(util.get_temp_dir()), time.monotonic() + KILL_SECONDS
        while folder.exists() and time.monotonic() < until:  # Dask may be starting a worker anew
            shutil.rmtree(folder, ignore_errors=True)
