"""``labs site``: the course as a static site."""

from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli.application import console, one_line_errors, root
from labsupport.errors import LabError

GENERATOR = ("docutils", "furo", "latex2mathml", "myst_nb", "sphinx")


def site(
    folder: Annotated[Path, typer.Argument(help="a folder for the site", metavar="[DIR]")] = Path(
        "site"
    ),
    solutions: Annotated[
        bool, typer.Option("--solutions/--without-solutions", help="folded, or not in it at all")
    ] = True,
    lab: Annotated[list[str] | None, typer.Option(help="which lab; several times")] = None,
):
    """The course as a static site.    Example: labs site public --without-solutions

    A page a lab, with its figures, and one of the long runs' results; search, light and dark. It
    needs no server and fetches nothing: open DIR/index.html, or put DIR on any web server.
    """
    with one_line_errors():
        top = root()
        try:
            from labsupport.course.site.build import build_site

            warnings = build_site(top, folder, lab, solutions)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in GENERATOR:
                raise
            from labsupport.course.installing import how_to_install

            raise LabError(
                f"{error.name} is not installed: {how_to_install('grading,site')}"
            ) from None
        for line in warnings:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(f"{folder / 'index.html'} is there to be opened.", soft_wrap=True)
