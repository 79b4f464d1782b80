"""Output of ``labs export``."""

from collections import Counter

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labsupport.answers.text import one_line
from labsupport.grading.export.giving import Exported


def show(console: Console, result: Exported) -> None:
    """What was written by lab, then everything that was left out with the reason."""
    labs = sorted({line.lab for line in result.lines if line.lab})
    table = Table("lab", "grades written", "left out", "pages packed", box=box.SIMPLE_HEAD)
    for lab in labs:
        count = Counter(line.written for line in result.lines if line.lab == lab)
        pages = str(result.pages.get(lab, "")) if result.platform != "Gradescope" else ""
        table.add_row(lab, str(count[True]), str(count[False]), pages)
    console.print(table)
    told = [line for line in result.lines if not line.written or line.note]
    if told or result.unpacked:
        table = Table("lab", "student", "there", "written", "why, or how", box=box.SIMPLE_HEAD)
        for line in told:
            points = line.points or "[red]left out[/red]"
            cells = (line.lab[:2], line.student or "-", line.name)
            table.add_row(*map(_cell, cells), points, _cell(line.note))
        for lab, student, reason in result.unpacked:
            table.add_row(lab[:2], _cell(student), "", "[red]no page[/red]", _cell(reason))
        console.print(table)
    for note in result.notes:
        console.print(escape(note), soft_wrap=True, highlight=False)
    for path in result.files:
        console.print(f"wrote {escape(str(path))}", soft_wrap=True, highlight=False)


def _cell(text: str) -> str:
    return escape(one_line(text, 200))
