"""Lock of a course: one run at a time writes grades, whether it is ours or nbgrader's own.

The rights of what a run makes follow ``c.CourseDirectory.groupshared``: where several graders
share a course, each of them can go on with what another has done.
"""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from labsupport.errors import CourseError
from labsupport.grading.ledger.settings import groupshared
from labsupport.grading.running.scratch import sweep

LOOK_SECONDS = 0.2  # between two looks at whether the course is free
_held: set[Path] = set()  # courses that a run of this process holds


@contextlib.contextmanager
def only_run(course: Path, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the course for one grading run; the lock goes with the process, however it ends.

    Raises CourseError where another run still holds it after ``wait_seconds``, or where the
    course cannot be written to.
    """
    course = course.resolve()
    shared = groupshared(course)
    mask = os.umask(0o002) if shared else None  # nbgrader makes folders as the umask has it
    try:
        with _lock_file(course, shared) as file:
            _take(file, course, time.monotonic() + wait_seconds)
            for left in (course / ".labs").rglob(".*.part"):  # by a run that was killed
                left.unlink(missing_ok=True)
            sweep()
            _held.add(course)
            try:
                yield
            finally:
                _held.discard(course)
                if shared:
                    share(course)
    finally:
        if mask is not None:
            os.umask(mask)


@contextlib.contextmanager
def held(course: Path, wait_seconds: float) -> Iterator[None]:
    """As ``only_run``, for a step of a run: nothing happens where this process holds the course."""
    if course.resolve() in _held:
        yield
        return
    with only_run(course, wait_seconds):
        yield


def share(course: Path) -> None:
    """Let the group write what the caller owns of a course: its folders, records and results."""
    places = [course, *course.iterdir()]
    for name in ("autograded", "feedback", "submitted"):
        places += (course / name).glob("*")
    for name in (".labs", "labs", "release", "source"):
        places += (course / name).rglob("*")
    for path in places:
        about = path.lstat()
        more = 0o2770 if stat.S_ISDIR(about.st_mode) else 0o660
        lacks = about.st_mode & more != more and not stat.S_ISLNK(about.st_mode)
        if lacks and about.st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(about.st_mode) | more)


@contextlib.contextmanager
def _lock_file(course: Path, shared: bool) -> Iterator[int]:
    path = course / ".labs" / "lock"
    try:
        path.parent.mkdir(exist_ok=True)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:
            file = os.open(path, os.O_RDONLY)  # another grader's: it can be locked all the same
        if shared:
            share(course)
    except OSError as error:
        raise CourseError(
            f"{course} cannot be written to: {error.filename}: {error.strerror}; whoever grades "
            "needs the right to write there; for several graders see docs/instructors.md"
        ) from None
    try:
        yield file
    finally:
        os.close(file)


def _take(file: int, course: Path, until: float) -> None:
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise CourseError(
                    f"{course} is being graded by another run: wait for it to end"
                ) from None
            time.sleep(LOOK_SECONDS)
