"""``labs check``: a student's own look at a notebook's visible checks."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from labsupport.cli.application import as_text, console, one_line_errors
from labsupport.errors import LabError


def check(notebook: Annotated[Path, typer.Argument(help="your notebook")]):
    """Run your notebook and show its checks as a table.    Example: labs check 01_vision.ipynb"""
    with one_line_errors():
        from labsupport.grading.submission.selfcheck import run_checks

        if not notebook.exists():
            raise LabError(f"{notebook} does not exist")
        with console.status("running the notebook in the smoke profile"):
            results = run_checks(notebook)
        table = Table("exercise", "check", "message")
        for result in results:
            colour = "green" if result.passed else "red"
            message = "\n".join(map(as_text, result.message.splitlines()))
            word = "passed" if result.passed else "not yet"
            table.add_row(result.exercise, f"[{colour}]{word}[/{colour}]", message)
        console.print(table)
        passed = sum(r.passed for r in results)
        console.print(
            f"Visible checks: {passed} of {len(results)}. Points are given for the same questions "
            "with other numbers."
        )
        raise typer.Exit(0 if passed == len(results) else 1)
