"""``labs doctor``: does this machine have what is needed, and what of a course is set."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli.application import console, one_line_errors

SIGNS = {"set": "[OK]  ", "not set": "[ – ] ", "wrong": "[FAIL]"}


def doctor(
    folder: Annotated[
        Path | None, typer.Argument(help="a course directory, to look at instead", metavar="[DIR]")
    ] = None,
):
    """Say what this machine, or a course, has and lacks.    Example: labs doctor ~/vit-2026

    Without DIR: what students and instructors need here. With it: exchange, roster, due dates,
    late policy, several graders, gradebook, sandbox; what is set, and how to set what is not.
    """
    if folder is not None:
        with one_line_errors():
            from labsupport.grading.ledger.checkup import checkup

            looks = checkup(folder)
            for look in looks:
                console.print(
                    f"{SIGNS[look.state]} {look.name:<16} {look.text}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
            raise typer.Exit(1 if any(look.state == "wrong" for look in looks) else 0)
    _machine()


def _machine() -> None:
    from importlib.util import find_spec

    from labsupport.course.installing import how_to_install
    from labsupport.notebook.environment import report

    well = report()
    for name in ("nbgrader", "papermill", "jupytext", "jupyterlab", "distributed"):
        if find_spec(name) is None:
            console.print(
                f"[ – ]  {name:<12} for instructors: {how_to_install('grading')}", markup=False
            )
    for name, there, good, bad in abilities():
        console.print(
            f"{SIGNS['set' if there else 'not set']} {name:<12} {good if there else bad}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    raise typer.Exit(0 if well else 1)


def abilities() -> list[tuple[str, bool, str, str]]:
    """What an instructor's machine can do besides: a name, whether it can, and what is said then
    and otherwise, with the mend."""
    from labsupport.course.publication import published_here

    address = published_here().address
    return [
        (
            "sandbox",
            shutil.which("bwrap") is not None,
            "submissions run in bubblewrap: no network, nothing seen of your files",
            "submissions would run with your rights (labs grade --no-sandbox): apt-get install "
            "bubblewrap, on Linux",
        ),
        (
            "browser",
            any(shutil.which(name) for name in ("chromium", "google-chrome"))
            and shutil.which("chromedriver") is not None,
            "make test looks at notebooks, feedback, report and site in chromium",
            "make test skips what it looks at in a browser: apt-get install chromium "
            "chromium-driver",
        ),
        (
            "Colab",
            bool(address),
            f"notebooks open from {address}",
            "this copy has no address: labs publish https://github.com/OWNER/NAME; labs bundle "
            "makes a zip without one",
        ),
    ]
