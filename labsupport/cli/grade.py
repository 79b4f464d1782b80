"""``labs grade``: a class's submissions, graded."""

from typing import Annotated

import typer

from labsupport.cli import stopping
from labsupport.cli.application import CORES, Folder, Labs, console, one_line_errors
from labsupport.cli.beginning import begin, first_to_grade, imports
from labsupport.cli.grading_output import progress, say_where, show


def grade(
    folder: Folder,
    labs: Labs = None,
    student: Annotated[
        list[str] | None, typer.Option(help="only this student's; may be given several times")
    ] = None,
    sandbox: Annotated[bool, typer.Option(help="run submissions in bubblewrap")] = True,
    jobs: Annotated[int, typer.Option(help="worker processes; default: one a core")] = CORES,
    scheduler: Annotated[str, typer.Option(help="a Dask cluster, tcp://host:port")] = "",
    again: Annotated[bool, typer.Option(help="run again what has been run before")] = False,
    feedback: Annotated[bool, typer.Option(help="make feedback pages")] = True,
):
    """Autograde, write feedback and grades.csv.    Example: labs grade ~/vit-2026 01

    What has been run before is not run again; lateness, penalties, extra time, points and
    exemptions are worked out anew every time.

    Exit status: 0 all graded, 2 some could not be graded (the table says why), 1 it had to stop
    (one line says why; what is done stays done, and the same command goes on).
    """
    with one_line_errors():
        stopping.at_once()  # what is done is kept at every moment
        if not scheduler:
            begin(first_to_grade(folder, labs, student, again), sandbox)
        with imports():
            from labsupport.grading.ledger.grades import export, grade_course

        if not sandbox:
            console.print("[yellow]Without the sandbox, submissions run with your rights.[/yellow]")
        rows = grade_course(
            folder, labs, progress, sandbox, jobs, scheduler, again, feedback, student
        )
        export(folder)
        show(rows)
        say_where(folder)
        raise typer.Exit(2 if any(row.error for row in rows) else 0)
