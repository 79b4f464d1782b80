"""``labs audit``: how strong and how fair the labs' judges and checks are."""

from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli import stopping
from labsupport.cli.application import Labs, console, one_line_errors, root


def audit(
    labs: Labs = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="for machines")] = None,
    picture: Annotated[Path | None, typer.Option(help="a .png, .svg or .pdf")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="a fixed sample of mutants")] = False,
    workers: Annotated[int | None, typer.Option(help="processes; default: all cores")] = None,
):
    """How strong and how fair judges and checks are.    Example: labs audit 01

    Exit status: 0 at least 99% caught and every right answer accepted, 2 not so, 1 nothing done.
    """
    with one_line_errors():
        from labsupport.grading.audit.command import run_audits

        stopping.at_once("run it again: an audit keeps nothing of a part")
        good = run_audits(console, root() / "solutions", labs, json_file, picture, fast, workers)
        raise typer.Exit(0 if good else 2)
