"""``labs audit``: how strong and how fair the labs' judges and checks are."""

from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli import stopping
from labsupport.cli.application import console, one_line_errors, root

Labs = Annotated[
    list[str] | None,
    typer.Argument(
        help="a course directory, if it is that one's labs; then labs by number or name; default: "
        "all of the checkout's",
        metavar="[DIR] [LAB]",
    ),
]


def audit(
    labs: Labs = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="for machines")] = None,
    picture: Annotated[Path | None, typer.Option(help="a .png, .svg or .pdf")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="a fixed sample of mutants")] = False,
    workers: Annotated[int | None, typer.Option(help="processes; default: all cores")] = None,
):
    """How strong and how fair judges and checks are.    Example: labs audit ~/vit-2026 01

    Exit status: 0 at least 99% caught and every right answer accepted, 2 not so, 1 nothing done.
    """
    with one_line_errors():
        from labsupport.grading.audit.command import in_course, run_audits

        course, labs = in_course(labs)
        stopping.at_once("run it again: an audit keeps nothing of a part")
        sources = course or root() / "solutions"
        good = run_audits(console, sources, labs, json_file, picture, fast, workers)
        raise typer.Exit(0 if good else 2)
