"""Course directory of an instructor: made here, used by nbgrader's own commands unmodified.

DIR/nbgrader_config.py   nbgrader's settings, with our pipeline in autograde
DIR/labs/NN_name.py      the labs of this course, to edit; nbgrader never copies this folder
DIR/source/ release/ submitted/ autograded/ feedback/ gradebook.db   nbgrader's
"""

import contextlib
import os
import secrets
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

from nbgrader.apps.api import NbGraderAPI
from sqlalchemy.exc import SAWarning

from labsupport.course.build import CODE_STUB, TEXT_STUB, dump, source_notebook
from labsupport.course.points_told import check_parts_told
from labsupport.course.publication import published_here
from labsupport.course.source import find_labs, read_lab
from labsupport.errors import CourseError
from labsupport.grading.ledger.lock import only_run
from labsupport.grading.ledger.proof import proofs
from labsupport.grading.ledger.released_points import points_follow
from labsupport.grading.ledger.settings import CONFIG, check_name, load_config
from labsupport.grading.running.limits import RunLimits

__all__ = [
    "CONFIG",
    "config_text",
    "course_api",
    "init_course",
    "last_error",
    "load_config",
    "release",
]


def init_course(folder: Path, solutions: Path, wanted: list[str] | None = None) -> Path:
    """Make a course directory with the labs of a solutions folder. Never overwrites anything."""
    check_name(folder)
    if (folder / CONFIG).exists():
        raise CourseError(f"{folder} is a course directory already: nothing was changed")
    sources = find_labs(solutions, wanted)
    for name in ("labs", "source", "release", "submitted"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path in sources:
        for file in (path, path.with_suffix(".equivalents.toml")):  # the second is the audit's
            if file.exists():
                shutil.copy(file, folder / "labs" / file.name)
    (folder / CONFIG).write_text(config_text(folder.resolve().name), encoding="utf-8")
    return folder


@contextlib.contextmanager
def course_api(folder: Path) -> Iterator[NbGraderAPI]:
    """nbgrader's Python API on a course."""
    config = load_config(folder)
    path = os.environ.get("PATH", "")
    try:
        # nbgrader calls alembic by name, also where its environment is not activated
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # nbgrader's own, on every new submission
            yield NbGraderAPI(config=config)
    finally:
        os.environ["PATH"] = path


def release(
    folder: Path, wanted: list[str] | None = None, say: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """Make ``source/`` from ``labs/`` and ``release/`` through nbgrader's generate_assignment.

    Returns the released notebooks. Raises CourseError with nbgrader's reason where it refuses, and
    where a lab's own solution does not pass its judges and checks, or while the course is being
    graded: nothing is released then.
    """
    released = []
    folder = folder.resolve()
    load_config(folder)  # is it a course at all?
    sources = find_labs(folder / "labs", wanted)
    labs = [read_lab(path) for path in sources]
    published = published_here()
    for lab in labs:
        check_parts_told(lab)
    with proofs(folder, sources) as proven:
        proven.wait()
    with only_run(folder), course_api(folder) as api:
        for lab in labs:
            target = folder / "source" / lab.stem / f"{lab.stem}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            with points_follow(folder, lab, say):
                target.write_text(dump(source_notebook(lab, published)), encoding="utf-8")
                result = api.generate_assignment(lab.stem, force=True)
                if not result["success"]:
                    raise CourseError(f"nbgrader did not release {lab.stem}: {last_error(result)}")
            released.append(folder / "release" / lab.stem / f"{lab.stem}.ipynb")
    return released


def last_error(result: dict) -> str:
    """The line of an nbgrader API log that says what went wrong."""
    text = result.get("error") or result.get("log") or ""
    if "database is locked" in f"{text}{result.get('log')}":  # nbgrader speaks of an upgrade
        return "the gradebook is held by another program: close that, then run again"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    return (errors or lines or ["no reason was given"])[-1].replace("[ERROR] ", "")[:300]


def config_text(course_id: str) -> str:
    """A new course's ``nbgrader_config.py``, with a secret of its own."""
    return dedent(
        f'''\
        """nbgrader's settings for this course. nbgrader's own commands work in this folder."""

        import os

        c = get_config()  # noqa: F821  (nbgrader provides it)

        c.CourseDirectory.root = os.path.dirname(os.path.abspath(__file__))
        c.CourseDirectory.course_id = {course_id!r}

        # How an exercise looks once its solution is removed.
        c.ClearSolutions.code_stub = {{"python": {CODE_STUB!r}}}
        c.ClearSolutions.text_stub = {TEXT_STUB!r}

        # Grading: nbgrader's pipeline; damaged notebooks are repaired first, and execution is
        # papermill's, with trusted judging in it.
        c.Autograde.sanitize_preprocessors = [
            "labsupport.grading.ledger.preprocessors.Realign",
            "nbgrader.preprocessors.ClearOutput",
            "nbgrader.preprocessors.DeduplicateIds",
            "nbgrader.preprocessors.OverwriteKernelspec",
            "nbgrader.preprocessors.OverwriteCells",
            "nbgrader.preprocessors.CheckCellMetadata",
        ]
        c.Autograde.autograde_preprocessors = [
            "labsupport.grading.ledger.preprocessors.ExecuteAndJudge",
            "nbgrader.preprocessors.LimitOutput",
            "nbgrader.preprocessors.SaveAutoGrades",
            "nbgrader.preprocessors.AssignLatePenalties",
            "nbgrader.preprocessors.CheckCellMetadata",
            "labsupport.grading.ledger.rubric.ShowRubric",
        ]
        # Files are read as students' editors save them; nbgrader's run waits for 'labs grade'.
        c.Autograde.exporter_class = "labsupport.grading.ledger.exporter.CourseExporter"
        # Feedback pages that call exercises by their names.
        c.GenerateFeedback.exporter_class = "labsupport.grading.ledger.feedback.FeedbackExporter"
        c.OverwriteCells.add_missing_cells = True  # a deleted graded cell comes back
        c.Execute.timeout = {RunLimits.cell_seconds}  # seconds a cell

        # Inputs are drawn from this secret and the student's id: keep it to yourself, and keep it,
        # for the same secret gives the same grades again.
        c.ExecuteAndJudge.seed = {secrets.token_hex(16)!r}

        # Late work: nbgrader's plug-ins, for example its own that gives no points when late.
        # c.LateSubmissionPlugin.penalty_method = "zero"
        '''
    )
