"""Tables of the report, as CSV: a row for every student, one for every exercise of every lab."""

import csv
import io
from pathlib import Path

from labsupport.files import write_whole
from labsupport.grading.report.data import LabResults
from labsupport.grading.report.pictures import outcomes
from labsupport.grading.report.statistics import ItemStatistics

EXERCISES = (
    "lab",
    "exercise",
    "graded_by",
    "points",
    "graded",
    "mean_share",
    "full_points",
    "no_points",
    "discrimination",
    "discrimination_low",
    "discrimination_high",
    "wrong_answer",
    "error",
    "stopped_or_died",
    "not_answered",
    "tampered",
    "waiting",
)


def student_rows(results: LabResults) -> list[list]:
    """The header and a row for every submission: what it got, and in what."""
    names = [item.name for item in results.items]
    judged = [item.name for item in results.items if not item.by_hand]
    head = [
        "student",
        *(["name"] if results.names else []),
        "graded",
        "score",
        "max_score",
        "late",
        "late_hours",
        "late_penalty",
        "waiting",
        "repairs",
        "seconds",
        "sandbox",
        *names,
        *(f"{name} status" for name in judged),
        "problem",
    ]
    rows: list[list] = [head]
    for run in results.runs:
        known = run.graded
        sandbox = {True: "yes", False: "no", None: ""}[run.sandbox]
        rows.append(
            [
                text(run.student),
                *([text(run.name)] if results.names else []),
                "yes" if known else "no",
                _number(run.score if known else None),
                _number(run.max_score if known else results.max_score),
                ("yes" if run.is_late else "no") if known else "",
                # late by a platform's word, with no time known: then there are no hours to tell
                _number(round(run.late_hours, 2) if known and not run.late else None),
                _number(run.penalty if known else None),
                run.waiting if known else "",
                len(run.repairs) if known else "",
                _number(run.seconds),
                sandbox,
                *(_number(run.points.get(name)) for name in names),
                *(run.verdicts.get(name, ("",))[0] for name in judged),
                text(run.problem),
            ]
        )
    return rows


def exercise_rows(results: LabResults, about: list[ItemStatistics]) -> list[dict]:
    """A row for every item, with the columns of ``EXERCISES``."""
    rows = []
    for found in about:
        count = outcomes(results, found.item)
        low, high = found.interval or (None, None)
        values: tuple[str | int, ...] = (
            results.lab.stem,
            found.item.name,
            "hand" if found.item.by_hand else "judge",
            _number(found.item.points),
            found.count,
            _share(found.ease),
            found.full,
            found.none,
            _share(found.power),
            _share(low),
            _share(high),
            count.get("failed", 0),
            count.get("error", 0),
            sum(count.get(s, 0) for s in ("timeout", "crashed", "out of memory")),
            count.get("missing", 0) + count.get("not reached", 0),
            count.get("tampered", 0),
            count.get("waits", 0),
        )
        rows.append(dict(zip(EXERCISES, values, strict=True)))
    return rows


def write_students(path: Path, results: LabResults) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(student_rows(results))
    write_whole(path, file.getvalue())


def write_exercises(path: Path, rows: list[dict]) -> None:
    """Write the rows; those of labs that are not among them stay as an earlier report left them."""
    labs = {row["lab"] for row in rows}
    kept = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as earlier:
            reader = csv.DictReader(earlier)
            if tuple(reader.fieldnames or ()) == EXERCISES:
                kept = [row for row in reader if row["lab"] not in labs]
    file = io.StringIO()
    writer = csv.DictWriter(file, EXERCISES, lineterminator="\n")
    writer.writeheader()
    # sorted by lab only: the exercises keep their order
    writer.writerows(sorted([*kept, *rows], key=lambda row: row["lab"]))
    write_whole(path, file.getvalue())


def text(value: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
