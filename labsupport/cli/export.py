"""``labs export``: grades on their way to Canvas, Moodle or Gradescope."""

from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli.application import Folder, Labs, console, one_line_errors
from labsupport.errors import CourseError


def export(
    folder: Folder,
    labs: Labs = None,
    canvas: Annotated[
        Path | None,
        typer.Option(
            help="Canvas' gradebook, as 'Export Entire Gradebook' gives it", metavar="FILE"
        ),
    ] = None,
    moodle: Annotated[
        list[Path] | None,
        typer.Option(help="Moodle's grading worksheet of a lab; may be said again", metavar="FILE"),
    ] = None,
    gradescope: Annotated[
        bool, typer.Option("--gradescope", help="a table as Gradescope's 'Download Grades' is")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="where to write; default: DIR/export")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="which column (Moodle: file) is a lab's, where names do not tell",
            metavar="LAB=TITLE",
        ),
    ] = None,
    heading: Annotated[
        list[str] | None,
        typer.Option(
            help="a heading of a worksheet in another language: grade=Bewertung",
            metavar="NAME=TEXT",
        ),
    ] = None,
    missing_as_zero: Annotated[
        bool, typer.Option("--missing-as-zero", help="0 where nothing was handed in")
    ] = False,
    scale: Annotated[bool, typer.Option(help="to the platform's points where they differ")] = True,
    feedback: Annotated[bool, typer.Option(help="pack feedback pages beside the grades")] = True,
):
    """Write grades as a platform takes them.    Example: labs export ~/vit-2026 --canvas grades.csv

    A student's row is filled in only where it is certain whose it is and there is a grade to give:
    what waits, cannot be read or was not handed in stays blank. Exit status: 0 all written, 2
    something was left out (the table says why), 1 nothing done.
    """
    with one_line_errors():
        if bool(canvas) + bool(moodle) + gradescope != 1:
            raise CourseError("say one of --canvas FILE, --moodle FILE and --gradescope")
        from labsupport.grading.export import export as exporting
        from labsupport.grading.export.command import show
        from labsupport.grading.export.giving import Rules

        folder = folder.resolve()
        place, rules = out or folder / "export", Rules(missing_as_zero, scale, feedback)
        columns = column or []
        if canvas:
            done = exporting.export_canvas(folder, canvas, labs, place, rules, columns)
        elif moodle:
            done = exporting.export_moodle(
                folder, moodle, labs, place, rules, columns, heading or []
            )
        else:
            done = exporting.export_gradescope(folder, labs, place, rules)
        show(console, done)
        raise typer.Exit(0 if done.complete else 2)
