"""Graded notebooks by content hash, in a course's ``.labs`` folder: what is done stays done.

A run that was killed goes on where it stopped, and a grade that nothing changed is not made twice.
"""

import hashlib
import json
from pathlib import Path

from labsupport.errors import CourseError
from labsupport.grading.ledger.gradebook import check_free
from labsupport.grading.ledger.lock import only_run
from labsupport.grading.ledger.settings import is_course, load_config

__all__ = ["ResultStore", "check_room", "only_run"]

PROBE = 4 * 2**20  # bytes; more than one submission takes


class ResultStore:
    """Results of grading tasks; every write is whole or not there, and every read is checked."""

    def __init__(self, course: Path):
        self._folder = course / ".labs" / "results"

    def get(self, fingerprint: str) -> str | None:
        """The result that was put by, None where there is none or the disk has damaged it."""
        try:
            kept = json.loads(self._path(fingerprint).read_text(encoding="utf-8"))
            if kept["check"] == _check(fingerprint, kept["notebook"]):
                return kept["notebook"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return None

    def put(self, fingerprint: str, result: str) -> None:
        """Keep a result. Raises CourseError (a full disk, say) without leaving half a file."""
        kept = {"check": _check(fingerprint, result), "notebook": result}
        try:
            _write(self._path(fingerprint), json.dumps(kept, ensure_ascii=False))
        except OSError as error:
            raise CourseError(
                f"a result could not be kept in {self._folder}: {error.strerror}; what is done "
                "stays done: mend that, then run again to go on"
            ) from error

    def forget(self, fingerprint: str) -> None:
        self._path(fingerprint).unlink(missing_ok=True)

    def _path(self, fingerprint: str) -> Path:
        return self._folder / f"{fingerprint}.json"


def _write(path: Path, text: str) -> None:
    # torch comes with it: a run that finds everything graded has no use for it
    from labsupport.files import write_whole

    write_whole(path, text)


def check_room(course: Path) -> None:
    """Raise CourseError where a course directory cannot be written to: its disk is full, say, or
    another program holds its gradebook.

    Asked when something has failed: what fails for want of room fails for the next one too.
    """
    try:
        _write(course / ".labs" / "room", "x" * PROBE)
        (course / ".labs" / "room").unlink()
    except OSError as error:
        raise CourseError(
            f"{course} cannot be written to: {error.strerror}; what is done stays done: mend "
            "that, then run again to go on"
        ) from error
    if is_course(course):
        check_free(load_config(course).CourseDirectory.db_url)


def _check(fingerprint: str, result: str) -> str:
    return hashlib.sha256(f"{fingerprint}\n{result}".encode()).hexdigest()
