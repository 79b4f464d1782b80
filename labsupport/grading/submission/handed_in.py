"""Contents of a submission's folder, before anything in it is opened.

nbgrader copies every file of a submission beside the graded notebook and from there into the
feedback that a student gets, and it takes a student's name for a pattern. A link would copy
somebody else's file, a pipe would keep the grader waiting for ever.
"""

import os
import re
import stat
from pathlib import Path

from dateutil import tz

from labsupport.answers.text import one_line

MAX_MB = 50  # of all of a submission's files together
MAX_FILES = 1000
_PATTERN = re.compile(r"[*?\[\]]")


def refusal(folder: Path, assignment: str, student: str) -> str:
    """Why a submission under ``folder/submitted`` is not looked into, in one line, or ""."""
    if _PATTERN.search(student) or not student.isprintable():
        return f"the folder name {student!r} could stand for other students: rename it"
    place = folder / "submitted" / student / assignment
    for path in (place.parent, place):
        if path.is_symlink():
            return f"{path.name} is a link, and links are not followed: hand in the folder itself"
    size = count = 0
    waiting = [str(place)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                name = os.path.relpath(entry.path, place)
                if stat.S_ISDIR(about.st_mode):
                    waiting.append(entry.path)
                elif not stat.S_ISREG(about.st_mode):
                    kind = "a link" if stat.S_ISLNK(about.st_mode) else "no ordinary file"
                    return f"{name!r} is {kind}, and was not opened: remove it and grade again"
                size, count = size + about.st_size, count + 1
                if size > MAX_MB * 2**20 or count > MAX_FILES:
                    return (
                        f"the submission has more than {MAX_MB} MB or {MAX_FILES} files: "
                        "remove what is not the notebook and grade again"
                    )
    return ""


def wrong_time(folder: Path, assignment: str, student: str) -> str:
    """Why a submission's ``timestamp.txt`` is no time for nbgrader, in one line, or "".

    nbgrader stops at one that is none, and takes a time zone that it does not know for UTC.
    """
    from nbgrader.utils import parse_utc  # not for who checks a notebook: Windows has none

    path = folder / "submitted" / student / assignment / "timestamp.txt"
    try:
        said = path.read_bytes().decode("utf-8").strip()
        words = said.split(" ")
        zone = words[2] if len(words) == 3 else "UTC"
        known = re.fullmatch(r"[+-]?\d+", zone) or tz.gettz(zone) is not None
        if not said or (known and parse_utc(said)):
            return ""
    except FileNotFoundError:
        return ""
    except (UnicodeDecodeError, ValueError, OverflowError, TypeError):
        said = path.read_bytes().decode("utf-8", "replace").strip()
    except OSError as error:
        said = one_line(error.strerror or error)
    return (
        f"timestamp.txt of {student} says {one_line(said, 40)!r}, which is no time: write it like "
        "2026-01-31 22:15:03 UTC, or remove the file (then it is on time), and grade again"
    )
