"""``labs collect``: a learning platform's download, filed."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli.application import Folder, console, one_line_errors


class Form(enum.Enum):
    auto = "auto"
    canvas = "canvas"
    moodle = "moodle"
    gradescope = "gradescope"


class Times(enum.Enum):
    auto = "auto"
    entries = "entries"
    none = "none"


def collect(
    folder: Folder,
    source: Annotated[Path, typer.Argument(help="a folder or zip file, as it was downloaded")],
    lab: Annotated[str, typer.Argument(help="which lab; default: what each notebook says")] = "",
    form: Annotated[Form, typer.Option("--format", help="whose download it is")] = Form.auto,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="a CSV file: lms_id,student_id")
    ] = None,
    times: Annotated[
        Times, typer.Option(help="are the files' own times those of handing in?")
    ] = Times.auto,
    zone: Annotated[
        str, typer.Option(help="of a zip file's times, say Europe/Lisbon; default: this machine's")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="also over what is not known to be older; that is kept")
    ] = False,
):
    """File what Canvas, Moodle or Gradescope hand out.    Example: labs collect ~/vit-2026 sub.zip

    Exit status: 0 all filed, 2 some could not be (the table says why), 1 nothing done.
    """
    with one_line_errors():
        from labsupport.grading.collect import collect as collecting
        from labsupport.grading.collect.command import show

        result = collecting.collect(
            folder,
            source,
            lab,
            form=form.value if form != Form.auto else "",
            map_file=map_file,
            times=times.value,
            zone=collecting.time_zone(zone),
            force=force,
        )
        show(console, result, folder)
        raise typer.Exit(0 if result.complete else 2)
