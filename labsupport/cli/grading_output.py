"""Grading as a terminal or a log shows it: progress, the table of a class, where everything is."""

import sys
from pathlib import Path

from rich import box
from rich.table import Table

from labsupport.cli.application import as_text, console


def progress(items, **about):
    """`items` with tqdm's bar on a terminal, and a line now and then in a log."""
    from tqdm import tqdm

    if sys.stderr.isatty():
        return tqdm(items, unit="submission", miniters=1, **about)
    # the first line says at once that something is being done
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


def show(rows) -> None:
    """Print a table with a line for each of `rows`, as ``grade_course`` returns them, then what
    else there is to say of a submission."""
    columns = ("lab", "student", "points", "late", "penalty", "by hand", "points lost in, or why")
    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(
            row.assignment[:2],
            as_text(row.student),
            f"- of {row.max_score:g}" if row.error else f"{row.score:g} of {row.max_score:g}",
            as_text(row.late),
            f"{row.penalty:g}" if row.penalty and not row.error else "",
            f"{row.waiting} wait" if row.waiting else "",
            f"[red]{as_text(row.error)}[/red]" if row.error else _lost(row.lost),
        )
    console.print(table)
    for row in rows:
        for note in row.notes:
            console.print(
                f"{as_text(row.student)}, {row.assignment[:2]}: {as_text(note)}", soft_wrap=True
            )


def say_where(folder: Path) -> None:
    """Print where a course's grades, feedback and gradebook are."""
    from labsupport.grading.ledger.course_directory import load_config
    from labsupport.grading.ledger.gradebook import db_url, shown

    console.print(f"grades    {folder / 'grades.csv'}", soft_wrap=True)
    console.print(f"feedback  {folder / 'feedback'}{'/<student>/<lab>/'}", soft_wrap=True)
    url = db_url(folder, load_config(folder))
    console.print(f"gradebook {shown(url)}", soft_wrap=True)


def _lost(lost: dict[str, str]) -> str:
    if len(lost) > 3 and len(set(lost.values())) == 1:
        return f"{len(lost)} exercises ({next(iter(lost.values()))})"
    return ", ".join(f"{name} ({status})" for name, status in lost.items())
