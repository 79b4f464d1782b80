"""``labs demo``: a whole class, made up and graded."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli import stopping
from labsupport.cli.application import CORES, console, one_line_errors, root
from labsupport.cli.beginning import begin, imports
from labsupport.cli.grading_output import progress, say_where, show
from labsupport.errors import LabError, SandboxError

FIRST = "01"


def demo(
    folder: Annotated[Path | None, typer.Argument(help="a new folder for the course")] = None,
    lab: Annotated[
        list[str] | None, typer.Option(help="which lab, or 'all'; several times")
    ] = None,
):
    """A class, from source to grades, on embedded data.    Example: labs demo /tmp/course

    Lab 01's class where no lab is named; all of them take many times as long.
    """
    with one_line_errors():
        wanted = None if "all" in (lab or []) else lab or [FIRST]
        from labsupport.grading.running.sandbox.visible import bubblewrap

        top, missing = root(), ""
        try:
            sandbox = bool(bubblewrap())
        except SandboxError as error:
            sandbox, missing = False, str(error)  # its submissions are the course's own code
        begin(_first(top / "solutions", wanted), sandbox)
        with imports():
            from labsupport.course.source import find_labs
            from labsupport.grading import demo as play
            from labsupport.grading.ledger.course_directory import init_course, release
            from labsupport.grading.ledger.grades import (
                export,
                grade_course,
                read_rows,
                submissions,
            )

        folder = (folder or Path(tempfile.mkdtemp(prefix="labs-demo-"))).resolve()
        if folder == top or top in folder.parents:
            raise LabError(f"{folder} is inside the checkout: a class lives outside of it")
        play.check_empty(folder)
        stopping.at_once(f"remove {folder}, or name another folder, then run it again")
        sources = find_labs(top / "solutions", wanted)
        console.print(f"[bold]1[/bold] course directory {folder}", soft_wrap=True)
        init_course(folder, top / "solutions", wanted)
        console.print("[bold]2[/bold] release through nbgrader")
        release(folder)
        count = 0
        for source in sources:
            play.set_due_date(folder, source.stem)
            count += len(play.make_class(folder, source.stem, source.with_suffix(".ipynb")))
        console.print(f"[bold]3[/bold] {count} submissions handed in")
        if missing:
            console.print(
                f"    {missing}. The demo grades its own code, so it goes on without.",
                soft_wrap=True,
            )
        stopping.at_once(f"what is done is kept: 'labs grade {folder}' goes on")
        started = time.monotonic()
        rows = grade_course(folder, None, progress, sandbox, CORES)
        errors = {(r.assignment, r.student): r.error for r in rows if r.error}
        seconds = time.monotonic() - started
        console.print(f"[bold]4[/bold] autograded in {seconds:.0f} s, feedback written")
        count = sum(play.grade_answers_by_hand(folder, source.stem) for source in sources)
        console.print(
            f"[bold]5[/bold] {count} written answers graded by hand (the demo plays the "
            "instructor: full points for the model answer)"
        )
        export(folder)
        show(read_rows(folder, submissions(folder), errors))
        say_where(folder)
        from labsupport.grading.report.command import write_reports

        console.print(f"for example {_page(folder)}", soft_wrap=True)
        for _, page in write_reports(folder):
            console.print(f"report    {page}", soft_wrap=True)


def _first(sources: Path, wanted: list[str] | None) -> Path | None:
    """The source of the lab that is graded first; to find it nothing is imported."""
    there = sorted(sources.glob("[0-9][0-9]_*.py"))
    return next((p for p in there if not wanted or {p.stem, p.stem[:2]} & {*wanted}), None)


def _page(folder: Path) -> Path:
    """A feedback page to look at: one that tells of a mistake, where there is one."""
    pages = sorted((folder / "feedback").glob("*/*/*.html"))
    return next((p for p in pages if p.parts[-3].startswith("trap-")), (pages or [folder])[0])
