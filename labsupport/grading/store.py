"""Graded notebooks by content hash, in a course's ``.labs`` folder: what is done stays done.

A run that was killed goes on where it stopped, and a grade that nothing changed is not made twice.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labsupport.grading.course_directory import CourseError


class ResultStore:
    """Results of grading tasks; every write is whole or not there."""

    def __init__(self, course: Path):
        self._folder = course / ".labs" / "results"

    def get(self, fingerprint: str) -> str | None:
        try:
            return self._path(fingerprint).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def put(self, fingerprint: str, result: str) -> None:
        """Keep a result. Raises OSError (a full disk, say) without leaving half a file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(result)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path(fingerprint))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise

    def forget(self, fingerprint: str) -> None:
        self._path(fingerprint).unlink(missing_ok=True)

    def _path(self, fingerprint: str) -> Path:
        return self._folder / f"{fingerprint}.json"


@contextlib.contextmanager
def only_run(course: Path) -> Iterator[None]:
    """Hold the course for one grading run; the lock goes with the process, however it ends.

    Raises CourseError where another run holds it.
    """
    (course / ".labs").mkdir(exist_ok=True)
    with (course / ".labs" / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CourseError(
                f"{course} is being graded by another run: wait for it to end"
            ) from None
        yield
