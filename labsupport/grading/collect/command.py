"""Output of ``labs collect``."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labsupport.grading.collect.collect import Collected, Line

COLOURS = {"filed": "green", "replaced": "green", "unchanged": "dim", "not filed": "red"}


def show(console: Console, result: Collected, folder: Path) -> None:
    """A line for every submission, for every refused file, and a summary."""
    table = Table(
        "student", "there", "lab", "handed in", "outcome", "why, or which file", box=box.SIMPLE_HEAD
    )
    for line in result.lines:
        colour = COLOURS[line.outcome]
        table.add_row(
            escape(line.student or "-"),
            escape(line.shown),
            line.lab[:2],
            line.when,
            f"[{colour}]{line.outcome}[/{colour}]",
            escape(line.note if line.good and line.note else _why(line)),
        )
    console.print(table)
    for name, reason in result.refused:
        console.print(f"[red]refused[/red] {escape(name)}: {escape(reason)}", soft_wrap=True)
    counts = ", ".join(f"{n} {outcome}" for outcome in COLOURS if (n := result.count(outcome)))
    refused = f", {len(result.refused)} refused" if result.refused else ""
    console.print(
        f"A download from {result.format.capitalize()}: {counts or 'nothing to file'}{refused}.",
        soft_wrap=True,
    )
    unknown = [line for line in result.lines if line.good and line.when.endswith("unknown")]
    if unknown:
        late = sum(line.when.startswith("late") for line in unknown)
        console.print(
            "Where the time is unknown timestamp.txt is empty, and nbgrader counts the "
            "submission as on time"
            + (f"; {late} of these are late by the platform's word." if late else "."),
            soft_wrap=True,
        )
    if result.missing:
        console.print(
            f"Nothing was handed in by {len(result.missing)} of the map: "
            f"{escape(', '.join(result.missing))}",
            soft_wrap=True,
        )
    console.print(f"submissions {folder / 'submitted'}", soft_wrap=True)


def _why(line: Line) -> str:
    return ": ".join(part for part in (line.note, line.file) if part)
