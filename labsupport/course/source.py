"""A lab's source, read: one jupytext ``py:percent`` file with statement, solution, check, judge,
traps and alternatives side by side.

A cell's kind is said on its marker, e.g. ``# %% judge="patchify" points=3``. What each kind is
and who gets to see it stands in ``labsupport.course.lab.KINDS``.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import jupytext

from labsupport.course.header import read_header
from labsupport.course.judge_cell import JudgeCell
from labsupport.course.lab import GRADED, MARKER_KEYS, NAMED, TAGS, Lab, LabCell, SourceError
from labsupport.course.rules import check_lab


def read_lab(path: Path) -> Lab:
    """Parse and check a lab's source. Raises SourceError with file, line and the mend."""
    return parse_lab(path.read_text(encoding="utf-8"), path)


@lru_cache(maxsize=16)
def parsed_lab(stem: str, source: str) -> Lab:
    """The lab of a source's text, parsed once in a process; not to be changed."""
    return parse_lab(source, Path(f"{stem}.py"))


def parse_lab(text: str, path: Path) -> Lab:
    """The lab of a source's text; ``path`` names it, in errors too, and need not exist."""
    header = read_header(path, text)
    lines = _marker_lines(path, text)
    notebook = jupytext.reads(text, fmt="py:percent")
    if notebook.cells and notebook.cells[0].cell_type == "raw":  # the header's 'lab:' part
        del notebook.cells[0]
    if len(lines) != len(notebook.cells):
        raise SourceError(
            path,
            lines[0] if lines else 1,
            f"{len(lines)} cell markers but {len(notebook.cells)} cells",
            "begin every cell, the first after the header too, with a line '# %%'",
        )
    cells = [_cell(path, line, cell) for line, cell in zip(lines, notebook.cells, strict=True)]
    lab = Lab(path, path.stem, header.number, header.title, cells, header.masks, header.minutes)
    _give_ids(lab)
    check_lab(lab)
    return lab


def find_labs(folder: Path, wanted: list[str] | None = None) -> list[Path]:
    """Sources ``NN_name.py`` in a folder, all or those named by number ("01") or stem.

    Raises FileNotFoundError that lists what there is.
    """
    found = sorted(p for p in folder.glob("*.py") if re.match(r"\d\d_", p.name))
    if not found:
        raise FileNotFoundError(f"no lab sources (NN_name.py) in {folder}")
    if not wanted:
        return found
    chosen = []
    for key in wanted:
        match = [p for p in found if key in (p.stem, p.stem[:2])]
        if not match:
            raise FileNotFoundError(
                f"no lab {key!r} in {folder}; there are {', '.join(p.stem for p in found)}"
            )
        chosen += match
    return chosen


def _marker_lines(path: Path, text: str) -> list[int]:
    """The lines with cell markers. jupytext refuses tags that are no list without naming one."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"# %%(\s|$)", line):
            if re.search(r"\stags=(?!\[)", line):
                raise SourceError(path, number, "tags is not a list", 'write tags=["setup"]')
            found.append(number)
    return found


def _cell(path: Path, line: int, cell: Any) -> LabCell:
    def refuse(problem: str, mend: str) -> None:
        raise SourceError(path, line, problem, mend)

    meta = dict(cell.metadata)
    meta.pop("lines_to_next_cell", None)  # jupytext's own note about blank lines
    if "incorrectly_encoded_metadata" in meta:
        words = meta["incorrectly_encoded_metadata"]
        refuse(f"this marker cannot be read: {words}", 'write key="text" or key=number')
    for key in meta:
        if key not in MARKER_KEYS:
            refuse(f"unknown cell key {key!r}", f"allowed: {', '.join(MARKER_KEYS)}")
    kinds = [k for k in NAMED if k in meta]
    if len(kinds) > 1:
        refuse(f"a cell cannot be both {kinds[0]} and {kinds[1]}", "split the cell")
    for key in (*kinds, "name"):
        if key in meta and (not isinstance(meta[key], str) or not meta[key]):
            refuse(f"{key} is not a name", f'write it in quotes: {key}="..."')
    tags = meta.get("tags", [])
    for tag in tags:
        if tag not in TAGS:
            refuse(f"unknown tag {tag!r}", f"allowed: {', '.join(TAGS)}")
    if kinds:
        kind = kinds[0]
    elif cell.cell_type == "markdown":
        kind = "prose"
    else:
        kind = "parameters" if "parameters" in tags else "given"
    points = meta.get("points", 0)
    if "points" not in meta and kind in GRADED:
        refuse(f"{kind} {meta[kind]!r} has no points", "add points=N to its marker")
    if "points" in meta and kind not in GRADED:
        refuse(f"points on a {kind} cell", "points belong on judge and question cells")
    if type(points) not in (int, float):
        refuse(f"points must be a number, not {points!r}", "write points=2, without quotes")
    found = LabCell(
        kind,
        cell.source,
        line,
        cell.cell_type,
        meta.get(kind, ""),
        meta.get("name", ""),
        points,
        tags=list(tags),
    )
    if kind == "judge":
        try:
            judge = JudgeCell(path, line, cell.source)
        except SyntaxError:  # check_lab says so, with the line
            return found
        found.parts, found.tolerance = judge.parts(), judge.tolerance()
    return found


def _give_ids(lab: Lab) -> None:
    """Stable ids: a named cell's id is its kind and name; any other cell counts from the named
    one before it, so that an edit moves no ids but its own neighbours'."""
    anchor, count = "top", 0
    for cell in lab.cells:
        if cell.name:
            cell.id = "-".join(filter(None, (cell.kind, cell.name, cell.label)))
            if cell.kind not in ("trap", "alternative"):
                anchor, count = cell.id, 0
        else:
            count += 1
            cell.id = f"{cell.kind}-{cell.label}" if cell.label else f"after-{anchor}-{count}"
        cell.id = re.sub(r"[^A-Za-z0-9_-]", "-", cell.id)[:64]
