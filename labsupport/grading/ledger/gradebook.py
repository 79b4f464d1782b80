"""Gradebook of a course: where it is (SQLite's file, a server by URL), whether it can be had."""

from pathlib import Path

from nbgrader.api import Gradebook
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from labsupport.course.installing import how_to_install
from labsupport.errors import CourseError

CONNECT_SECONDS = 10
NO_URL = (
    "c.CourseDirectory.db_url in nbgrader_config.py is no URL of a database: it should "
    "look like postgresql+psycopg://user:password@host/gradebook"
)


def db_url(folder: Path, config) -> str:
    """The URL of a course's gradebook, with its password; ``config`` is ``load_config``'s."""
    return config.CourseDirectory.db_url


def shown(url: str) -> str:
    """A gradebook's place as people read it: a file's path, or a URL without its password."""
    place = make_url(url)
    if place.get_backend_name() == "sqlite" and place.database:
        return place.database
    return place.render_as_string(hide_password=True)


def open_gradebook(url: str) -> None:
    """See that the gradebook can be had, and make its tables where it is new.

    Raises CourseError, one line without the password, where it cannot.
    """
    try:
        place = make_url(url)
        server = place.get_backend_name() == "postgresql"
        limit = {"connect_timeout": CONNECT_SECONDS} if server else {}
        engine = create_engine(
            place, connect_args=limit if "connect_timeout" not in place.query else {}
        )
        with engine.connect():
            pass
        engine.dispose()
        Gradebook(url).close()
    except (ArgumentError, NoSuchModuleError):  # what it says may hold the password
        raise CourseError(NO_URL) from None
    except ModuleNotFoundError as error:
        raise CourseError(
            f"the gradebook {shown(url)} needs {error.name}, which is not installed: "
            f"{how_to_install('postgres')}, with postgresql+psycopg:// in the URL"
        ) from None
    except DBAPIError as error:
        lines = str(error.orig).strip().splitlines() or ["no reason was given"]
        reason = lines[0] if not place.password else lines[0].replace(str(place.password), "***")
        raise CourseError(
            f"the gradebook {shown(url)} cannot be opened, so nothing was graded: {reason}"
        ) from None


def check_free(url: str) -> None:
    """Raise CourseError where another program holds the gradebook's file."""
    place = make_url(url)
    if place.get_backend_name() != "sqlite":
        return
    engine = create_engine(place.update_query_dict({"timeout": "1"}))
    try:
        with engine.connect() as connection:
            connection.execute(text("BEGIN IMMEDIATE"))
            connection.rollback()
    except OperationalError as error:
        raise CourseError(told(error, url)) from None
    finally:
        engine.dispose()


def told(error: Exception, url: str = "") -> str:
    """One line about an error of SQLAlchemy's, with the mend. Raises any other."""
    if isinstance(error, ArgumentError | NoSuchModuleError):  # it may hold the password
        return NO_URL
    if not isinstance(error, DBAPIError):
        raise error
    where = f"the gradebook {shown(url)}" if url else "the gradebook"
    reason = (str(error.orig).strip().splitlines() or ["no reason was given"])[0]
    if "locked" in reason:
        return (
            f"{where} is held by another program (a database browser, a copy that is being "
            "made?): close that, then run again; what is done stays done"
        )
    return f"{where} cannot be used: {reason}; mend that, then run again; what is done stays done"
