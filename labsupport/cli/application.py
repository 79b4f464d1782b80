"""Foundation of the command: its application, console and checkout, and how errors are shown."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from labsupport.cli import stopping
from labsupport.errors import LabError

CORES = os.cpu_count() or 1
# What only the instructor's side of the package imports; a student's machine may lack all of it.
INSTRUCTORS = (
    "bleach",
    "cosmic_ray",
    "dask",
    "dateutil",
    "distributed",
    "jinja2",
    "jupyterlab",
    "jupytext",
    "latex2mathml",
    "nbclient",
    "nbformat",
    "nbgrader",
    "papermill",
    "psutil",
    "sqlalchemy",
    "yaml",
)
# What a user can mend: no room, no right to write or read, a folder in a file's place.
MENDABLE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
)
console = Console()
if not console.is_terminal:
    console = Console(width=120)  # a log or a pipe has no width of its own; 80 breaks the table
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Graded labs on efficient vision transformers.",
)

Labs = Annotated[list[str] | None, typer.Argument(help="Labs by number or name; default: all")]
Folder = Annotated[Path, typer.Argument(help="The course directory", metavar="DIR")]


def root() -> Path:
    """The checkout we work in: the nearest folder above with solutions/, else the package's.

    Raises LabError where there is none."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "solutions").is_dir() and (folder / "labsupport").is_dir():
            return folder
    raise LabError(
        "no checkout of the course here: run this inside one (the folder with solutions/)"
    )


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Errors a user can mend are one line and exit status 1; others keep their traceback. So is
    Ctrl-C, see ``stopping``."""
    try:
        with stopping.orderly():
            yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in INSTRUCTORS:
            raise
        from labsupport.course.installing import how_to_install

        _fail(f"{error.name} is not installed: {how_to_install('grading')}")
    except (LabError, FileNotFoundError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        _fail(f"{error.filename or 'writing'}: {error.strerror}; mend that, then run again")
    except Exception as error:
        if not type(error).__module__.startswith("sqlalchemy.exc"):
            raise
        _fail(_of_gradebook(error))


def _of_gradebook(error: Exception) -> str:
    from labsupport.grading.ledger.gradebook import told

    return told(error)


def as_text(words: str) -> str:
    """A student's words as they are: no markup of rich's, nothing that a terminal obeys."""
    return escape("".join(c if c.isprintable() else "?" for c in words))


def _fail(message: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(
        f"[red]labs:[/red] {escape(message)}", highlight=False
    )
    raise typer.Exit(1)
