"""``labs course``: an instructor's course directory, made and released."""

import typer

from labsupport.cli.application import Folder, Labs, console, one_line_errors, root

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

        for path in release_labs(folder, labs):
            console.print(str(path))
