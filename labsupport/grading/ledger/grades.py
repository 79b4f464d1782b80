"""Grades of a course's submissions, with feedback: what ``labs grade`` does."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI

from labsupport.course.source import find_labs, parsed_lab
from labsupport.errors import CourseError
from labsupport.grading.ledger.course_directory import course_api
from labsupport.grading.ledger.due_dates import check_due_dates
from labsupport.grading.ledger.gradebook import db_url, open_gradebook
from labsupport.grading.ledger.grades_csv import export
from labsupport.grading.ledger.hand_grades import remember
from labsupport.grading.ledger.kept import Pair
from labsupport.grading.ledger.named import check_labs, check_students, is_wanted
from labsupport.grading.ledger.page_makers import FeedbackPages, feedback_pages
from labsupport.grading.ledger.preprocessors import ExecuteAndJudge
from labsupport.grading.ledger.proof import proofs
from labsupport.grading.ledger.recording import is_recorded, record
from labsupport.grading.ledger.released_points import check_released
from labsupport.grading.ledger.rows import Row, read_rows
from labsupport.grading.ledger.settings import load_config
from labsupport.grading.ledger.settling import Settling, settling
from labsupport.grading.ledger.store import ResultStore, check_room, only_run
from labsupport.grading.ledger.troubles import Trouble, keep_trouble
from labsupport.grading.running.sandbox.visible import bubblewrap
from labsupport.grading.submission.reading import unreadable
from labsupport.grading.workers.fanout import perform_all

__all__ = ["Row", "export", "grade_course", "read_rows", "submissions"]


def submissions(
    folder: Path, wanted: list[str] | None = None, students: list[str] | None = None
) -> list[Pair]:
    """(assignment, student) of everything under ``submitted/``, sorted."""
    found = []
    for place in sorted((folder / "submitted").glob("*/*")):
        student, assignment = place.parent.name, place.name
        if place.is_dir() and is_wanted(assignment, wanted) and student in (students or [student]):
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
    students: list[str] | None = None,
) -> list[Row]:
    """Grade every submission, or those of ``students``, and return a row for each.

    The notebooks are executed and judged by ``jobs`` processes, or by the cluster behind
    ``scheduler``; this process alone records, each as it comes. What an earlier run has done is
    not done ``again`` unless asked for; lateness, penalties, points and exemptions are worked out
    anew in any case, and ``feedback`` pages made where something on them has changed. One
    submission that cannot be graded costs no other its grade.
    ``progress(items, desc=, total=)`` wraps the iterations (tqdm, say). Without ``sandbox``
    submissions run with this process's rights; with it, and without bubblewrap, nothing is run:
    SandboxError. Raises CourseError for a lab or a student that is not there, and where a lab's
    points are not those of its release.
    """
    folder = folder.resolve()
    config = load_config(folder)  # is it a course at all?
    check_labs(folder, wanted)
    todo = submissions(folder, wanted, students)
    if not todo and not students:
        raise CourseError(f"nothing to grade under {folder / 'submitted'}")
    if sandbox:
        bubblewrap()
    errors: dict[Pair, str] = {}
    notes: dict[Pair, list[str]] = {}
    with only_run(folder), course_api(folder) as api:
        open_gradebook(db_url(folder, config))  # before hours are spent on what cannot be kept
        if not sandbox:
            api.config.ExecuteAndJudge.sandbox = False
        with settling(api, folder) as accounts, feedback_pages(api, folder, jobs) as pages:
            _check(folder, accounts.gradebook, todo, students)
            notes |= _deleted(folder, accounts.gradebook, todo)
            for pair, trouble in _grade(
                api, folder, accounts, todo, progress, jobs, scheduler, again
            ):
                if trouble is None:
                    trouble = _settle(accounts, pair, notes)
                keep_trouble(folder, pair, trouble)
                if trouble is not None:
                    errors[pair] = trouble.reason
                elif feedback:
                    pages.make(pair)
            _settle_others(folder, accounts, pages if feedback else None, wanted, students, todo)
            made = progress(pages.wait(), desc="feedback", total=pages.count)
            for pair, reason in made if pages.count else ():
                if reason:
                    check_room(folder)
                    errors[pair] = reason
        for _, student in errors:
            _register(api.gradebook, student)
    return read_rows(folder, todo, errors, notes)


def _check(
    folder: Path, gradebook: Gradebook, todo: list[Pair], students: list[str] | None
) -> None:
    """Raise CourseError for what must be mended before anything is run."""
    if students:
        handed_in = {student for _, student in submissions(folder)}
        check_students(handed_in | {s.id for s in gradebook.students}, students)
        if not todo:
            raise CourseError(f"nothing was handed in by {', '.join(students)}")
    labs = {assignment for assignment, _ in todo}
    check_due_dates(gradebook, labs)
    for stem in sorted(labs):
        path = folder / "labs" / f"{stem}.py"
        if path.is_file():
            check_released(gradebook, parsed_lab(stem, path.read_text(encoding="utf-8")))


def _deleted(folder: Path, gradebook: Gradebook, todo: list[Pair]) -> dict[Pair, list[str]]:
    """Students who were taken out of the gradebook, and whose submissions bring them back."""
    known = {student.id for student in gradebook.students}
    return {
        (lab, student): [
            "is not in the gradebook any more and comes back without hand grades: to leave them "
            f"out, move submitted/{student} elsewhere"
        ]
        for lab, student in todo
        if student not in known and (folder / "autograded" / student / lab).is_dir()
    }


def _settle(accounts: Settling, pair: Pair, notes: dict[Pair, list[str]]) -> Trouble | None:
    try:
        if said := accounts.settle(pair):
            notes.setdefault(pair, []).extend(said)
    except CourseError as error:
        return Trouble("failed", str(error))
    return None


def _settle_others(
    folder: Path,
    accounts: Settling,
    pages: FeedbackPages | None,
    wanted: list[str] | None,
    students: list[str] | None,
    done: list[Pair],
) -> None:
    """The same for what the gradebook has and ``submitted/`` has not any more."""
    for lab in accounts.gradebook.assignments:
        for submission in lab.submissions if is_wanted(lab.name, wanted) else ():
            pair = lab.name, submission.student.id
            if pair in done or pair[1] not in (students or [pair[1]]):
                continue
            accounts.settle(pair)
            if pages is not None and (folder / "autograded" / pair[1] / pair[0]).is_dir():
                pages.make(pair)


def _grade(
    api: NbGraderAPI,
    folder: Path,
    accounts: Settling,
    todo: list[Pair],
    progress: Callable[..., Iterable],
    jobs: int,
    scheduler: str,
    again: bool,
) -> Iterator[tuple[Pair, Trouble | None]]:
    """Grade and record every submission; yield each with what kept it from a grade, if anything.

    What earlier runs have put by is only recorded, what they have recorded is left alone.
    """
    store, step = ResultStore(folder), ExecuteAndJudge(config=api.config)
    ungraded, unrecorded = [], []
    for pair in todo:
        if reason := unreadable(folder, *pair):
            yield pair, Trouble("unreadable", reason)
            continue
        try:
            task = step.task(_about(*pair))
        except Exception as error:
            yield pair, Trouble("failed", _one_line(error))
            continue
        if again:
            store.forget(task.fingerprint)
        if store.get(task.fingerprint) is None:
            ungraded.append(pair)
        elif is_recorded(accounts.gradebook, folder, pair, task):
            yield pair, None
        else:
            unrecorded.append(pair)
    if unrecorded:
        for pair in progress(unrecorded, desc="recording", total=len(unrecorded)):
            yield pair, _recorded(api, folder, accounts, pair)
    if ungraded:
        # made one by one: a class's notebooks together may take more memory than there is
        tasks = ((pair, step.task(_about(*pair))) for pair in ungraded)
        labs = find_labs(folder / step.labs, sorted({assignment for assignment, _ in ungraded}))
        with proofs(folder, labs) as proven:  # under way while workers start
            results = perform_all(tasks, min(jobs, len(ungraded)), scheduler)
            for pair, result in progress(results, desc="grading", total=len(ungraded)):
                proven.wait()
                if isinstance(result, Exception):
                    check_room(folder)
                    yield pair, Trouble("failed", _one_line(result))
                else:
                    about = json.loads(result)["metadata"]["labsupport_grading"]
                    store.put(about["fingerprint"], result)
                    yield pair, _recorded(api, folder, accounts, pair)


def _recorded(api: NbGraderAPI, folder: Path, accounts: Settling, pair: Pair) -> Trouble | None:
    remember(folder, accounts.gradebook, pair)
    reason = record(api, *pair)
    if not reason:
        return None
    check_room(folder)
    return Trouble("failed", reason)


def _about(assignment: str, student: str) -> dict:
    return {"assignment": assignment, "student": student, "notebook": assignment}


def _one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"


def _register(gradebook: Gradebook, student: str) -> None:
    """A submission that cannot be read still makes a line in nbgrader's own export."""
    with gradebook:
        gradebook.update_or_create_student(student)
