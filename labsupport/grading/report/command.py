"""Reports of a course, written, and what the terminal says of them."""

import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from labsupport.files import write_whole
from labsupport.grading.report.data import LabResults, read_results
from labsupport.grading.report.mistakes import mistakes
from labsupport.grading.report.page import number, percent, plural, render
from labsupport.grading.report.statistics import ItemStatistics, describe, item_statistics
from labsupport.grading.report.tables import exercise_rows, write_exercises, write_students


def write_reports(
    folder: Path,
    wanted: list[str] | None = None,
    now: datetime.datetime | None = None,
    names: bool = True,
) -> list[tuple[LabResults, Path]]:
    """Write ``DIR/report/LAB.html``, ``LAB.csv`` and ``exercises.csv``; return the pages.

    Without ``names`` students are called by their ids only. Raises CourseError where there is
    nothing to report on.
    """
    folder = folder.resolve()
    place = folder / "report"
    done, rows = [], []
    for results in read_results(folder, wanted, names):
        items = item_statistics(results)
        page = place / f"{results.lab.stem}.html"
        write_whole(page, render(results, items, folder.name, now or datetime.datetime.now()))
        write_students(place / f"{results.lab.stem}.csv", results)
        rows += exercise_rows(results, items)
        done.append((results, page))
    write_exercises(place / "exercises.csv", rows)
    return done


def show(console: Console, done: list[tuple[LabResults, Path]], folder: Path) -> None:
    """Three lines on every lab, then where everything is."""
    for results, _ in done:
        for line in summary(results, item_statistics(results)):
            console.print(escape(line), soft_wrap=True, highlight=False)
    for _, page in done:
        console.print(f"report    {page}", soft_wrap=True)
    console.print(f"tables    {folder / 'report'}/<lab>.csv, exercises.csv", soft_wrap=True)


def summary(results: LabResults, items: list[ItemStatistics]) -> list[str]:
    """Three lines: the scores, the exercises, what a person has to look at."""
    graded = results.graded
    about = describe([run.score for run in graded])
    title = f"{results.lab.number} {results.lab.title}"
    first = (
        f"{title}: {len(graded)} of {plural(len(results.runs), 'submission')} graded, median "
        f"{number(about.median)} of {results.max_score:g} points, mean {number(about.mean)}"
    )
    second = "hardest: -"
    if known := [s for s in items if s.settled]:
        hardest = min(known, key=lambda s: s.ease or 0)
        second = (
            f"hardest: {hardest.item.name} ({percent(hardest.ease)} of its points on average, "
            f"{plural(hardest.count, 'answer')})"
        )
    if early := [s.item.name for s in items if s.waiting and not s.settled]:
        second += f", too early to say of {', '.join(early)}"
    wrong = mistakes(results)
    if wrong:
        second += (
            f"; commonest mistake: {wrong[0].exercise}, {wrong[0].text} "
            f"({plural(len(wrong[0].students), 'student')})"
        )
    third = [
        f"{plural(sum(r.waiting for r in graded), 'answer')} to grade by hand",
        f"{sum(r.is_late for r in graded)} late",
        f"{sum(bool(r.repairs) for r in graded)} repaired",
        f"{sum(not r.graded for r in results.runs)} not graded",
    ]
    bare = sum(run.sandbox is False for run in graded)
    third += [f"{bare} GRADED WITHOUT THE SANDBOX"] if bare else []
    return [first, second, ", ".join(third)]
