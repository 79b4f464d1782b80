"""The ``labs`` command."""

import contextlib
import enum
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

CORES = os.cpu_count() or 1
console = Console()
if not console.is_terminal:
    console = Console(width=120)  # a log or a pipe has no width of its own; 80 breaks the table
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Graded labs on efficient vision transformers.",
)
course_app = typer.Typer(no_args_is_help=True, help="An instructor's course directory.")
app.add_typer(course_app, name="course")

Form = enum.Enum("Form", {n: n for n in ("auto", "canvas", "moodle", "gradescope")})
Times = enum.Enum("Times", {n: n for n in ("auto", "entries", "none")})
Labs = Annotated[list[str] | None, typer.Argument(help="Labs by number or name; default: all")]
Folder = Annotated[Path, typer.Argument(help="The course directory", metavar="DIR")]


def root() -> Path:
    """The checkout we work in: the nearest folder above with solutions/, else the package's."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "solutions").is_dir() and (folder / "labsupport").is_dir():
            return folder
    raise FileNotFoundError(
        "no checkout of the course here: run this inside one (the folder with solutions/)"
    )


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Errors a user can mend are one line and exit status 1; others keep their traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in (
            "nbgrader",
            "papermill",
            "jupytext",
            "nbformat",
            "jupyterlab",
            "dask",
            "distributed",
            "cosmic_ray",
        ):
            raise
        _fail(f"{error.name} is not installed: pip install 'labsupport[grading]'")
    except (FileNotFoundError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        _fail(f"{error.filename or 'writing'}: {error.strerror}; mend that, then run again")
    except Exception as error:
        if type(error).__name__ not in ("SourceError", "CourseError", "SandboxError"):
            raise
        _fail(str(error))


def _fail(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"[red]labs:[/red] {message}", highlight=False)
    raise typer.Exit(1)


@app.command()
def build(
    labs: Labs = None,
    execute: Annotated[bool, typer.Option(help="also run the solutions with papermill")] = False,
    profile: Annotated[str, typer.Option(help="profile of --execute")] = "cpu",
):
    """Build notebooks/ from solutions/*.py.    Example: labs build 01 --execute"""
    with one_line_errors():
        from labsupport.course.build import build as build_lab
        from labsupport.course.publication import fill_readme, repository_of
        from labsupport.course.solve import execute_solution
        from labsupport.course.source import find_labs, read_lab

        top = root()
        repository = repository_of(top)
        for path in find_labs(top / "solutions", labs):
            lab = read_lab(path)
            built = build_lab(lab, top / "notebooks", repository)
            console.print(
                f"{built.relative_to(top)}: {len(lab.exercises)} exercises, {lab.points:g} points"
            )
            if execute:
                begin = time.monotonic()
                done = execute_solution(lab, path.with_suffix(".ipynb"), profile, repository)
                console.print(
                    f"{done.relative_to(top)}: executed in {time.monotonic() - begin:.0f} s"
                )
        fill_readme(top, repository, [p.stem for p in find_labs(top / "solutions")])


@app.command()
def start(
    folder: Annotated[Path, typer.Argument(help="where the working copy goes")] = Path("labs-work"),
):
    """Open JupyterLab on a working copy of the notebooks; your own files are never overwritten."""
    with one_line_errors():
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((root() / "notebooks").glob("*.ipynb")):
            if not (folder / path.name).exists():
                shutil.copy(path, folder / path.name)
        console.print(f"Your working copy: {folder.resolve()}")
        command = [sys.executable, "-m", "jupyter", "lab", f"--notebook-dir={folder}"]
        try:
            raise typer.Exit(subprocess.call(command))
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


@app.command()
def check(notebook: Annotated[Path, typer.Argument(help="your notebook")]):
    """Run your notebook and show its checks as a table.    Example: labs check 01_vision.ipynb"""
    with one_line_errors():
        from labsupport.grading.submission.selfcheck import run_checks

        if not notebook.exists():
            raise FileNotFoundError(f"{notebook} does not exist")
        with console.status("running the notebook in the smoke profile"):
            results = run_checks(notebook)
        table = Table("exercise", "check", "message")
        for result in results:
            colour = "green" if result.passed else "red"
            word = "passed" if result.passed else "not yet"
            table.add_row(result.exercise, f"[{colour}]{word}[/{colour}]", _as_text(result.message))
        console.print(table)
        passed = sum(r.passed for r in results)
        console.print(
            f"Visible checks: {passed} of {len(results)}. Points are given on other "
            "inputs than the checks use."
        )
        raise typer.Exit(0 if passed == len(results) else 1)


@course_app.command("init")
def course_init(folder: Folder, labs: Labs = None):
    """Make a course directory.    Example: labs course init ~/vit-2026 01"""
    with one_line_errors():
        from labsupport.grading.ledger.course_directory import init_course

        init_course(folder, root() / "solutions", labs)
        console.print(f"{folder}: edit labs/*.py, then 'labs course release {folder}'")


@course_app.command("release")
def course_release(folder: Folder, labs: Labs = None):
    """Make the students' notebooks, through nbgrader.    Example: labs course release ~/vit-2026"""
    with one_line_errors():
        from labsupport.grading.ledger.course_directory import release

        for path in release(folder, labs):
            console.print(str(path))


@app.command()
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


@app.command()
def grade(
    folder: Folder,
    labs: Labs = None,
    sandbox: Annotated[bool, typer.Option(help="run submissions in bubblewrap")] = True,
    jobs: Annotated[int, typer.Option(help="worker processes; default: one a core")] = CORES,
    scheduler: Annotated[str, typer.Option(help="a Dask cluster, tcp://host:port")] = "",
    again: Annotated[bool, typer.Option(help="also what an earlier run has graded")] = False,
    feedback: Annotated[bool, typer.Option(help="make feedback pages")] = True,
):
    """Autograde, write feedback and grades.csv.    Example: labs grade ~/vit-2026 01

    Exit status: 0 all graded, 2 some could not be graded (the table says why), 1 it had to stop
    (one line says why; what is done stays done, and the same command goes on).
    """
    with one_line_errors():
        _prepare_workers(scheduler)
        from labsupport.grading.ledger.grades import export, grade_course

        if not sandbox:
            console.print("[yellow]Without the sandbox, submissions run with your rights.[/yellow]")
        rows = grade_course(folder, labs, _progress, sandbox, jobs, scheduler, again, feedback)
        export(folder)
        _show(rows)
        _say_where(folder)
        raise typer.Exit(2 if any(row.error for row in rows) else 0)


def _prepare_workers(scheduler: str = "") -> None:
    """Before the imports that take seconds, so that both go on at the same time."""
    from labsupport.grading.workers.forks import prepare_workers

    if not scheduler:
        prepare_workers()


def _progress(items, **about):
    from tqdm import tqdm

    if sys.stderr.isatty():
        return tqdm(items, unit="submission", miniters=1, **about)
    # a log gets a line now and then; the first says at once that something is being done
    return tqdm(
        items,
        unit="submission",
        miniters=1,
        file=_Lines(),
        mininterval=30,
        ascii=True,
        ncols=100,
        **about,
    )


class _Lines:
    """Standard error, with lines in place of what goes back to a line's beginning."""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def _show(rows) -> None:
    columns = ("lab", "student", "score", "of", "late", "by hand", "points lost in, or why not")
    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        late = f"{row.late_seconds / 3600:.0f} h" if row.late_seconds else ""
        why = f"[red]{_as_text(row.error)}[/red]" if row.error else _lost(row.lost)
        score = "-" if row.error else f"{row.score:g}"
        waiting = f"{row.waiting} wait" if row.waiting else ""
        table.add_row(
            row.assignment[:2],
            _as_text(row.student),
            score,
            f"{row.max_score:g}",
            late,
            waiting,
            why,
        )
    console.print(table)


def _as_text(words: str) -> str:
    """A student's words as they are: no markup of rich's, nothing that a terminal obeys."""
    return escape("".join(c if c.isprintable() else "?" for c in words))


def _lost(lost: dict[str, str]) -> str:
    if len(lost) > 3 and len(set(lost.values())) == 1:
        return f"{len(lost)} exercises ({next(iter(lost.values()))})"
    return ", ".join(f"{name} ({status})" for name, status in lost.items())


def _say_where(folder: Path) -> None:
    from labsupport.grading.ledger.course_directory import load_config
    from labsupport.grading.ledger.gradebook import db_url, shown

    console.print(f"grades    {folder / 'grades.csv'}", soft_wrap=True)
    console.print(f"feedback  {folder / 'feedback'}{'/<student>/<lab>/'}", soft_wrap=True)
    url = db_url(folder, load_config(folder))
    console.print(f"gradebook {shown(url)}", soft_wrap=True)


@app.command()
def report(folder: Folder, labs: Labs = None):
    """Class statistics, a page and tables in DIR/report.    Example: labs report ~/vit-2026 01"""
    with one_line_errors():
        from labsupport.grading.report.command import show, write_reports

        show(console, write_reports(folder, labs), folder)


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Argument(help="a new folder for the course")] = None,
    lab: Annotated[list[str] | None, typer.Option(help="which labs; all of them if none")] = None,
):
    """A whole class, from source to grades, on embedded data.    Example: labs demo /tmp/course"""
    with one_line_errors():
        _prepare_workers()
        from labsupport.course.source import find_labs
        from labsupport.grading import demo as play
        from labsupport.grading.ledger.course_directory import init_course, release
        from labsupport.grading.ledger.grades import export, grade_course, read_rows, submissions
        from labsupport.grading.running.sandbox.visible import SandboxError, bubblewrap

        top = root()
        folder = (folder or Path(tempfile.mkdtemp(prefix="labs-demo-"))).resolve()
        if folder == top or top in folder.parents:
            raise ValueError(f"{folder} is inside the checkout: a class lives outside of it")
        play.check_empty(folder)
        sources = find_labs(top / "solutions", lab)
        console.print(f"[bold]1[/bold] course directory {folder}", soft_wrap=True)
        init_course(folder, top / "solutions", lab)
        console.print("[bold]2[/bold] release through nbgrader")
        release(folder)
        count = 0
        for source in sources:
            play.set_due_date(folder, source.stem)
            count += len(play.make_class(folder, source.stem, source.with_suffix(".ipynb")))
        console.print(f"[bold]3[/bold] {count} submissions handed in")
        try:
            sandbox = bool(bubblewrap())
        except SandboxError as error:
            sandbox = False  # the demo's submissions are the course's own code
            console.print(f"    {error}. The demo goes on without: it grades its own code.")
        begin = time.monotonic()
        rows = grade_course(folder, None, _progress, sandbox, CORES)
        errors = {(r.assignment, r.student): r.error for r in rows if r.error}
        seconds = time.monotonic() - begin
        console.print(f"[bold]4[/bold] autograded in {seconds:.0f} s, feedback written")
        count = sum(play.grade_answers_by_hand(folder, source.stem) for source in sources)
        console.print(
            f"[bold]5[/bold] {count} written answers graded by hand (the demo plays the "
            "instructor: full points for the model answer)"
        )
        export(folder)
        _show(read_rows(folder, submissions(folder), errors))
        _say_where(folder)


@app.command()
def doctor():
    """Say whether this machine has what students and instructors need, and how to mend it."""
    from importlib.util import find_spec

    from labsupport.notebook.environment import report

    well = report()
    for name in ("nbgrader", "papermill", "jupytext", "jupyterlab", "distributed"):
        if find_spec(name) is None:
            console.print(
                f"[ – ]  {name:<12} for instructors: pip install 'labsupport[grading]'",
                markup=False,
            )
    if shutil.which("bwrap") is None:
        console.print(
            "[ – ]  bubblewrap   for instructors: apt-get install bubblewrap", markup=False
        )
    raise typer.Exit(0 if well else 1)


@app.command()
def audit(
    labs: Labs = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="for machines")] = None,
    picture: Annotated[Path | None, typer.Option(help="a .png, .svg or .pdf")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="a fixed sample of mutants")] = False,
    workers: Annotated[int | None, typer.Option(help="processes; default: all cores")] = None,
):
    """How strong the judges are: mistakes put into the solutions.    Example: labs audit 01

    Exit status: 0 at least 99% caught and every alternative accepted, 2 not so, 1 nothing done.
    """
    with one_line_errors():
        from labsupport.grading.audit.command import run_audits

        good = run_audits(console, root() / "solutions", labs, json_file, picture, fast, workers)
        raise typer.Exit(0 if good else 2)


@app.command()
def experiment(
    lab: Annotated[str, typer.Argument(help="lab number")],
    name: Annotated[str, typer.Argument(help="the experiment's name")],
):
    """Run a long experiment and keep its results.    Example: labs experiment 01 data_scaling"""
    with one_line_errors():
        from labsupport.experiments import find_experiment

        find_experiment(lab, name)(root())


if __name__ == "__main__":
    app()
