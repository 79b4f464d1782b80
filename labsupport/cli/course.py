"""``labs course``: an instructor's course directory, made and released."""

from typing import Annotated

import typer

from labsupport.cli.application import Folder, Labs, as_text, console, one_line_errors, root

OneLab = Annotated[str, typer.Argument(help="a lab by number or name", metavar="LAB")]
OneStudent = Annotated[str, typer.Argument(help="a student's id in the gradebook")]

app = typer.Typer(no_args_is_help=True, help="An instructor's course directory.")


@app.command()
def init(folder: Folder, labs: Labs = None):
    """Make a course directory.    Example: labs course init ~/vit-2026 01"""
    with one_line_errors():
        from labsupport.grading.ledger.course_directory import init_course

        init_course(folder, root() / "solutions", labs)
        console.print(f"{folder}: edit labs/*.py, then 'labs course release {folder}'")


@app.command()
def release(folder: Folder, labs: Labs = None):
    """Make the students' notebooks, through nbgrader.    Example: labs course release ~/vit-2026"""
    with one_line_errors():
        from labsupport.grading.ledger.course_directory import release as release_labs

        for path in release_labs(folder, labs, lambda text: console.print(as_text(text))):
            console.print(str(path))


@app.command()
def due(folder: Folder, lab: OneLab, when: Annotated[str, typer.Argument()] = ""):
    """Set when a lab is due, in UTC.    Example: labs course due ~/vit-2026 01 "2026-01-31 23:59"

    With a zone, "2026-01-31 23:59 +01:00", it is that zone's time; without a time, the lab has no
    due date any more. It is nbgrader's own: formgrader shows and sets the same.
    """
    with one_line_errors():
        from labsupport.grading.ledger.due_dates import set_due_date

        console.print(as_text(set_due_date(folder, lab, when)), soft_wrap=True)
        console.print(f"'labs grade {folder}' works lateness out anew", soft_wrap=True)


@app.command()
def extend(
    folder: Folder,
    student: OneStudent,
    lab: OneLab,
    hours: Annotated[float, typer.Option(help="in all, past the due date; 0 takes it back")],
):
    """Give one student extra time.    Example: labs course extend ~/vit-2026 ada 01 --hours 48"""
    with one_line_errors():
        from labsupport.grading.ledger.due_dates import extend as extend_for

        console.print(as_text(extend_for(folder, student, lab, hours)), soft_wrap=True)
        console.print(f"'labs grade {folder}' works lateness out anew", soft_wrap=True)


@app.command()
def exempt(
    folder: Folder,
    student: OneStudent,
    lab: OneLab,
    exercise: Annotated[str, typer.Argument(help="an exercise or a written question, by name")],
    undo: Annotated[bool, typer.Option("--undo", help="it counts again")] = False,
):
    """Let one student off an exercise.    Example: labs course exempt ~/vit-2026 ada 01 patchify

    It leaves that student's score and maximum. For the whole class, write points=0 on its marker
    in labs/ and release.
    """
    with one_line_errors():
        from labsupport.grading.ledger.exempting import exempt as exempt_from

        console.print(as_text(exempt_from(folder, student, lab, exercise, undo)), soft_wrap=True)
        console.print(f"'labs grade {folder}' brings grades up to date", soft_wrap=True)
