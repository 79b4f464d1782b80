"""Grades of a course's submissions, with feedback and export: what ``labs grade`` does."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import CsvExportPlugin

from labsupport.errors import CourseError
from labsupport.grading.ledger.course_directory import course_api, load_config
from labsupport.grading.ledger.gradebook import db_url, open_gradebook
from labsupport.grading.ledger.preprocessors import ExecuteAndJudge
from labsupport.grading.ledger.recording import feedback_pages, is_recorded, record
from labsupport.grading.ledger.store import ResultStore, check_room, only_run
from labsupport.grading.running.sandbox.visible import bubblewrap
from labsupport.grading.submission.reading import unreadable
from labsupport.grading.workers.fanout import perform_all


@dataclass
class Row:
    """One submission in the table. ``error`` says why it could not be graded at all."""

    student: str
    assignment: str
    score: float = 0.0
    max_score: float = 0.0
    late_seconds: float = 0.0
    waiting: int = 0  # answers that wait to be graded by hand
    lost: dict[str, str] = field(default_factory=dict)  # exercise -> its verdict, points if any
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
    feedback: bool = True,
) -> list[Row]:
    """Grade every submission, write ``feedback`` pages, and return a row for each.

    The notebooks are executed and judged by ``jobs`` processes, or by the cluster behind
    ``scheduler``; this process alone records, each as it comes. What an earlier run has done is
    not done ``again`` unless asked for. One submission that cannot be graded costs no other its
    grade.
    ``progress(items, desc=, total=)`` wraps the iterations (tqdm, say). Without ``sandbox``
    submissions run with this process's rights; with it, and without bubblewrap, nothing is run:
    SandboxError.
    """
    folder = folder.resolve()
    config = load_config(folder)  # is it a course at all?
    todo = submissions(folder, wanted)
    if not todo:
        raise CourseError(f"nothing to grade under {folder / 'submitted'}")
    if sandbox:
        bubblewrap()
    with only_run(folder), course_api(folder) as api:
        open_gradebook(db_url(folder, config))  # before hours are spent on what cannot be kept
        if not sandbox:
            api.config.ExecuteAndJudge.sandbox = False
        errors = {pair: reason for pair in todo if (reason := unreadable(folder, *pair))}
        readable = [pair for pair in todo if pair not in errors]
        with feedback_pages(api, folder, jobs, len(readable)) as pages:
            for pair, reason in _grade(api, folder, readable, progress, jobs, scheduler, again):
                if reason:
                    errors[pair] = reason
                elif feedback:
                    pages.make(*pair)
            failed = progress(pages.wait(), desc="feedback", total=pages.count) if feedback else ()
            errors |= {pair: reason for pair, reason in failed if reason}
        for _, student in errors:
            _register(api.gradebook, student)
    return read_rows(folder, todo, errors)


def _grade(api, folder, pairs, progress, jobs, scheduler, again) -> Iterator[tuple]:
    """Grade and record every submission; yield each pair with "" or the reason why it failed.

    What earlier runs have put by is only recorded, what they have recorded is left alone.
    """
    store, step = ResultStore(folder), ExecuteAndJudge(config=api.config)
    ungraded, unrecorded = [], []
    for pair in pairs:
        try:
            fingerprint = step.task(_about(*pair)).fingerprint
        except Exception as error:
            yield pair, _one_line(error)
            continue
        if again:
            store.forget(fingerprint)
        if store.get(fingerprint) is None:
            ungraded.append(pair)
        elif is_recorded(api, folder, pair[0], pair[1], fingerprint):
            yield pair, ""
        else:
            unrecorded.append(pair)
    if unrecorded:
        for pair in progress(unrecorded, desc="recording", total=len(unrecorded)):
            yield pair, _recorded(api, folder, *pair)
    if ungraded:
        # made one by one: a class's notebooks together may take more memory than there is
        tasks = ((pair, step.task(_about(*pair))) for pair in ungraded)
        results = perform_all(tasks, min(jobs, len(ungraded)), scheduler)
        for pair, result in progress(results, desc="grading", total=len(ungraded)):
            if isinstance(result, Exception):
                check_room(folder)
                yield pair, _one_line(result)
            else:
                about = json.loads(result)["metadata"]["labsupport_grading"]
                store.put(about["fingerprint"], result)
                yield pair, _recorded(api, folder, *pair)


def _recorded(api, folder: Path, assignment: str, student: str) -> str:
    reason = record(api, assignment, student)
    if reason:
        check_room(folder)
    return reason


def _about(assignment: str, student: str) -> dict:
    return {"assignment": assignment, "student": student, "notebook": assignment}


def _one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"


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
            penalty = sum(n.late_submission_penalty or 0 for n in found.notebooks)
            row.score = max(found.score - penalty, 0.0)  # as nbgrader exports it
            row.late_seconds = found.total_seconds_late
            grades = [g for notebook in found.notebooks for g in notebook.grades]
            row.waiting = sum(g.needs_manual_grade for g in grades)
            if row.error and any(g.auto_score is not None for g in grades):
                row.error += f" (gradebook and export keep an earlier grade, {row.score:g} points)"
            row.lost = _lost(folder, assignment, student)
            rows.append(row)
    return rows


def export(folder: Path) -> Path:
    """Write ``DIR/grades.csv`` as nbgrader's CSV exporter does."""
    target = folder.resolve() / "grades.csv"
    config = load_config(folder)
    plugin = CsvExportPlugin(config=config)
    part = target.with_name(".grades.csv.part")  # a full disk must not cost the last good one
    plugin.to = str(part)
    try:
        with Gradebook(db_url(folder, config)) as gradebook:
            plugin.export(gradebook)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _register(gradebook: Gradebook, student: str) -> None:
    """A submission that cannot be read still makes a line in the export, with no points."""
    with gradebook:
        gradebook.update_or_create_student(student)


def _lost(folder: Path, assignment: str, student: str) -> dict[str, str]:
    path = folder / "autograded" / student / assignment / f"{assignment}.ipynb"
    if not path.exists():
        return {}
    about = json.loads(path.read_text("utf-8"))["metadata"].get("labsupport_grading", {})
    return {
        v["exercise"]: v["status"]
        + (f", {v['points']:g} of {v['max_points']:g}" if v["points"] else "")
        for v in about.get("verdicts", [])
        if v["status"] != "passed"
    }
