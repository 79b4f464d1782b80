"""``labs report``: what a graded class says about its students and its exercises."""

from typing import Annotated

import typer

from labsupport.cli.application import Folder, Labs, console, one_line_errors


def report(
    folder: Folder,
    labs: Labs = None,
    names: Annotated[bool, typer.Option(help="students' names beside their ids")] = True,
):
    """Class statistics, a page and tables in DIR/report.    Example: labs report ~/vit-2026 01"""
    with one_line_errors():
        from labsupport.grading.report.command import show, write_reports

        show(console, write_reports(folder, labs, names=names), folder)
