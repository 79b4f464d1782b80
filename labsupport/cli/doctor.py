"""``labs doctor``: does this machine have what is needed."""

import shutil

import typer

from labsupport.cli.application import console


def doctor():
    """Say whether this machine has what students and instructors need, and how to mend it."""
    from importlib.util import find_spec

    from labsupport.notebook.environment import report

    well = report()
    for name in ("nbgrader", "papermill", "jupytext", "jupyterlab", "distributed"):
        if find_spec(name) is None:
            console.print(
                f"[ – ]  {name:<12} for instructors: pip install 'labsupport[grading]'",
                markup=False,
            )
    if shutil.which("bwrap") is None:
        console.print(
            "[ – ]  bubblewrap   for instructors: apt-get install bubblewrap", markup=False
        )
    raise typer.Exit(0 if well else 1)
