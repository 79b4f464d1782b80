"""Grade a course's submissions, write feedback, export: what ``labs grade`` does."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.plugins import CsvExportPlugin

from labsupport.grading.course_directory import CourseError, course_api, last_error, load_config
from labsupport.grading.fanout import spread
from labsupport.grading.handed_in import refusal
from labsupport.grading.preprocessors import ExecuteAndJudge
from labsupport.grading.sandbox.visible import bubblewrap
from labsupport.grading.store import ResultStore, only_run
from labsupport.grading.task import GradingTask


@dataclass
class Row:
    """One submission in the table. ``error`` says why it could not be graded at all."""

    student: str
    assignment: str
    score: float = 0.0
    max_score: float = 0.0
    late_seconds: float = 0.0
    waiting: int = 0  # answers that wait to be graded by hand
    lost: dict[str, str] = field(default_factory=dict)  # exercise -> verdict's status
    error: str = ""


def submissions(folder: Path, wanted: list[str] | None = None) -> list[tuple[str, str]]:
    """(assignment, student) of everything under ``submitted/``, sorted."""
    found = []
    for place in sorted((folder / "submitted").glob("*/*")):
        student, assignment = place.parent.name, place.name
        if place.is_dir() and (not wanted or assignment in wanted or assignment[:2] in wanted):
            found.append((assignment, student))
    return sorted(found)


def grade_course(
    folder: Path,
    wanted: list[str] | None = None,
    progress: Callable[..., Iterable] = lambda items, **about: items,
    sandbox: bool = True,
    jobs: int = 1,
    scheduler: str = "",
    again: bool = False,
) -> list[Row]:
    """Grade every submission, write feedback, and return a row for each.

    First the notebooks are executed and judged, by ``jobs`` processes or by the cluster behind
    ``scheduler``; then this process alone records. What an earlier run has done is not done
    ``again`` unless asked for. One submission that cannot be graded costs no other its grade.
    ``progress(items, desc=, total=)`` wraps the iterations (tqdm, say). Without ``sandbox``
    submissions run with this process's rights; with it, and without bubblewrap, nothing is run:
    SandboxError.
    """
    folder = folder.resolve()
    load_config(folder)  # is it a course at all?
    todo = submissions(folder, wanted)
    if not todo:
        raise CourseError(f"nothing to grade under {folder / 'submitted'}")
    if sandbox:
        bubblewrap()
    with only_run(folder), course_api(folder) as api:
        if not sandbox:
            api.config.ExecuteAndJudge.sandbox = False
        errors = {pair: reason for pair in todo if (reason := unreadable(folder, *pair))}
        readable = [pair for pair in todo if pair not in errors]
        errors |= _execute(api, folder, readable, progress, jobs, scheduler, again)
        _record(api, [pair for pair in todo if pair not in errors], errors, progress)
        for _, student in errors:
            _register(api.gradebook, student)
    return read_rows(folder, todo, errors)


def _execute(api, folder, pairs, progress, jobs, scheduler, again) -> dict:
    """Put by a result for every submission that has none yet; the reasons where that failed."""
    store, tasks, errors = ResultStore(folder), {}, {}
    for assignment, student in pairs:
        try:
            task = sanitised_task(api, assignment, student)
        except Exception as error:
            errors[assignment, student] = _one_line(error)
            continue
        if again:
            store.forget(task.fingerprint)
        if store.get(task.fingerprint) is None:
            tasks[task] = (assignment, student)
    if not tasks:
        return errors
    results = spread(list(tasks), jobs, scheduler)
    for task, result in progress(results, desc="executing", total=len(tasks)):
        if isinstance(result, Exception):
            errors[tasks[task]] = _one_line(result)
        else:
            store.put(task.fingerprint, result)
    return errors


def _record(api, pairs, errors, progress) -> None:
    for assignment, student in progress(pairs, desc="recording", total=len(pairs)):
        result = api.autograde(assignment, student, force=True, create=True)
        if result["success"]:
            api.generate_feedback(assignment, student, force=True)
        else:
            errors[assignment, student] = last_error(result)


def sanitised_task(api, assignment: str, student: str) -> GradingTask:
    """What nbgrader's sanitising makes of a submission, as the task its autograde will ask for."""
    config = api.config
    converter = Autograde(coursedir=api.coursedir, parent=api)
    converter.coursedir.assignment_id = assignment
    converter.exporter = converter.exporter_class(parent=converter, config=converter.config)
    converter._sanitizing = True
    converter._init_preprocessors()
    path = Path(converter._format_source(assignment, student)) / f"{assignment}.ipynb"
    resources = converter.init_single_notebook_resources(str(path))
    text, resources = converter.exporter.from_filename(str(path), resources=resources)
    step = ExecuteAndJudge(config=config)
    return step.task(nbformat.reads(text, as_version=4), resources["nbgrader"])


def _one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"


def unreadable(folder: Path, assignment: str, student: str) -> str:
    """Why the submitted notebook cannot be read, in one line, or ""."""
    place = folder / "submitted" / student / assignment
    path = place / f"{assignment}.ipynb"
    if refused := refusal(folder, assignment, student):
        return refused
    if not path.exists():
        others = ", ".join(p.name for p in sorted(place.glob("*.ipynb"))) or "no notebook"
        return f"{path.name} was not handed in (there is {others})"
    try:
        json.loads(path.read_text(encoding="utf-8"))
        nbformat.validate(nbformat.read(path, as_version=4))
    except json.JSONDecodeError as error:
        return (
            f"{path.name} is damaged: JSON breaks off or goes wrong in line {error.lineno} "
            f"({error.msg}); ask for it to be handed in again"
        )
    except nbformat.ValidationError as error:
        return f"{path.name} is not a valid notebook: {error.message[:120]}"
    except Exception as error:
        line = str(error).splitlines()[0] if str(error) else ""
        return f"{path.name} is not a notebook: {type(error).__name__}: {line[:120]}"
    return ""


def read_rows(folder: Path, todo: list[tuple[str, str]], errors: dict) -> list[Row]:
    """The gradebook's word on every submission."""
    config = load_config(folder)
    rows = []
    with Gradebook(db_url(folder, config)) as gradebook:
        for assignment, student in todo:
            row = Row(student, assignment, error=errors.get((assignment, student), ""))
            try:
                row.max_score = gradebook.find_assignment(assignment).max_score
                found = gradebook.find_submission(assignment, student)
            except MissingEntry:
                rows.append(row)
                continue
            row.score, row.late_seconds = found.score, found.total_seconds_late
            row.waiting = sum(
                g.needs_manual_grade for notebook in found.notebooks for g in notebook.grades
            )
            row.lost = _lost(folder, assignment, student)
            rows.append(row)
    return rows


def export(folder: Path) -> Path:
    """Write ``DIR/grades.csv`` as nbgrader's CSV exporter does."""
    target = folder.resolve() / "grades.csv"
    config = load_config(folder)
    plugin = CsvExportPlugin(config=config)
    plugin.to = str(target)
    with Gradebook(db_url(folder, config)) as gradebook:
        plugin.export(gradebook)
    return target


def db_url(folder: Path, config) -> str:
    configured = config.CourseDirectory.get("db_url")
    return configured or f"sqlite:///{folder.resolve() / 'gradebook.db'}"


def _register(gradebook: Gradebook, student: str) -> None:
    """A submission that cannot be read still makes a line in the export, with no points."""
    with gradebook:
        gradebook.update_or_create_student(student)


def _lost(folder: Path, assignment: str, student: str) -> dict[str, str]:
    path = folder / "autograded" / student / assignment / f"{assignment}.ipynb"
    if not path.exists():
        return {}
    about = nbformat.read(path, as_version=4).metadata.get("labsupport_grading", {})
    return {
        v["exercise"]: v["status"] for v in about.get("verdicts", []) if v["status"] != "passed"
    }
