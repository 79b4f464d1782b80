"""Settings of a course, read as nbgrader reads them: the system's and the user's Jupyter
configuration, then DIR's own ``nbgrader_config.py`` or ``.json``; what is read later counts.
"""

import re
import traceback
from pathlib import Path

from nbgrader.apps.baseapp import NbGrader
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from traitlets.config import Application, Config

from labsupport.errors import CourseError

CONFIG = "nbgrader_config.py"
LOCKED_SECONDS = 60  # how long a gradebook that another program writes to is waited for


class _Reader(NbGrader):
    """nbgrader's application, for its way of finding configuration; it is never started."""

    load_cwd_config = False  # where we stand is no matter: the course is named
    raise_config_file_errors = True  # nbgrader goes on without what it cannot read

    def read(self, folder: Path) -> Config:
        self.load_config_file(suppress_errors=False)
        Application.load_config_file(self, CONFIG, path=str(folder))
        return self.config


def load_config(folder: Path) -> Config:
    """nbgrader's settings of a course; its root and its ``db_url`` are there in any case.

    Raises CourseError where it is no course, or where a file of settings cannot be read.
    """
    folder = folder.resolve()
    check_name(folder)
    if not is_course(folder):
        raise CourseError(f"{folder} is no course directory: make one with 'labs course init'")
    try:
        config = _Reader(log_level="CRITICAL").read(folder)
    except Exception as error:
        raise CourseError(_told(error, folder)) from error
    config.NbGrader.logfile = ""  # nbgrader would write its log where we stand
    config.CourseDirectory.root = str(folder)  # as nbgrader's --course-dir
    config.CourseDirectory.db_url = _patient(CourseDirectory(config=config).db_url, folder)
    return config


def check_name(folder: Path) -> None:
    """Raise CourseError where a course's folder has a name that nbgrader takes for a pattern."""
    if re.search(r"[*?\[\]]", str(folder.resolve())):
        raise CourseError(
            f"{folder}: nbgrader takes *, ? and brackets in the path of a course for a pattern, "
            "and finds nothing there: rename the folder"
        )


def is_course(folder: Path) -> bool:
    """Whether a folder is a course directory."""
    return (folder / CONFIG).is_file() or (folder / CONFIG).with_suffix(".json").is_file()


def groupshared(folder: Path) -> bool:
    """Whether several graders share a course: nbgrader's ``c.CourseDirectory.groupshared``."""
    return is_course(folder) and CourseDirectory(config=load_config(folder)).groupshared


def _patient(url: str, folder: Path) -> str:
    """The URL of a gradebook. A SQLite file is named in full, for nbgrader is run in the course's
    folder; while another program writes to it, it is waited for."""
    try:
        place = make_url(url)
    except ArgumentError:
        return url  # refused, with the mend, where the gradebook is opened
    if place.get_backend_name() != "sqlite" or not place.database or place.database == ":memory:":
        return url
    place = place.set(database=str(folder / place.database))
    if "timeout" not in place.query:
        place = place.update_query_dict({"timeout": str(LOCKED_SECONDS)})
    return place.render_as_string(hide_password=False)


def _told(error: Exception, folder: Path) -> str:
    """One line about a file of settings that could not be read: which, where, why."""
    place = f"{folder / CONFIG}"
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).stem in ("nbgrader_config", "jupyter_config"):
            place = f"{frame.filename}:{frame.lineno}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: Python cannot read this: {error.msg}; mend it"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be read: {error.strerror}; mend that, then run again"
    lines = str(error).strip().splitlines() or ["no reason was given"]
    return f"{place}: {type(error).__name__}: {lines[0][:200]}; mend it, then run again"
