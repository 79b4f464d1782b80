"""``labs start``: JupyterLab on a working copy."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli import stopping
from labsupport.cli.application import console, one_line_errors, root
from labsupport.errors import LabError

WORK = Path("labs-work")
FLAGS = ("--no-browser", "--allow-root", "--debug", "-y")  # Jupyter's that take no value
# what is not ours is Jupyter's
SETTINGS = {"ignore_unknown_options": True, "allow_extra_args": True}


def start(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="a folder, then options of Jupyter's", metavar="[DIR] [OPTIONS]"),
    ] = None,
):
    """Open JupyterLab on a working copy of the notebooks.    Example: labs start --no-browser

    DIR is where the working copy goes (default labs-work), a folder of notebooks that you were
    given, or a course directory, whose release is copied. Your own files are never overwritten.
    All options are Jupyter's: --no-browser, --port 9999, --allow-root.
    """
    with one_line_errors():
        named, options = split(words or [])
        folder = working_copy(named)
        console.print(f"Your working copy: {folder.resolve()}", soft_wrap=True)
        command = [sys.executable, "-m", "jupyter", "lab", f"--notebook-dir={folder}", *options]
        stopping.leave()  # Ctrl-C is for Jupyter, which asks back
        try:
            raise typer.Exit(subprocess.call(command))
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


def split(words: list[str]) -> tuple[Path | None, list[str]]:
    """The folder among the words of the command, if there is one, and Jupyter's options."""
    for place, word in enumerate(words):
        if not word.startswith("-") and (place == 0 or words[place - 1] in FLAGS):
            return Path(word), words[:place] + words[place + 1 :]
    return None, words


def working_copy(named: Path | None) -> Path:
    """The folder to work in, with what it lacks copied into it."""
    course = named.parent if named is not None and named.resolve().name == "release" else named
    if course is not None and (course / "nbgrader_config.py").exists():
        from labsupport.course.bundle import released_files

        course = course.resolve()
        folder, files = WORK / course.name, released_files(course)
    else:
        folder = named or WORK
        try:
            files = sorted((root() / "notebooks").glob("*.ipynb"))
        except LabError:
            files = []
        if any(folder.glob("*.ipynb")) and folder.resolve() != WORK.resolve():
            files = []  # what somebody was given is opened as it is
        elif not files and not any(folder.glob("*.ipynb")):
            raise LabError(
                "there is no checkout here to take notebooks from: name the folder with the "
                "notebooks that you were given, labs start DIR"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        if not (folder / path.name).exists():
            shutil.copy(path, folder / path.name)
    return folder
