"""Read a lab's source: one jupytext ``py:percent`` file with statement, solution, check, judge,
traps and alternatives side by side.

A cell's kind is said on its marker, e.g. ``# %% judge="patchify" points=3``. What each kind is
and who gets to see it stands in ``KINDS``.
"""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext
import yaml

from labsupport.course.rules import SourceError, check_lab, parts_of

# kind -> is it in the student's notebook?
KINDS = {
    "prose": True,  # markdown
    "given": True,  # locked code
    "parameters": True,  # PROFILE and SEED; the student may change them
    "exercise": True,  # the body between the solution markers is removed
    "check": True,  # visible, immediate, ungraded
    "judge": True,  # as one line that says what will be graded; its code stays here
    "experiment": True,  # trains or measures; not run when grading
    "widget": True,  # needs a person; not run when grading
    "question": True,  # a written answer, graded by hand
    "trap": False,  # a wrong answer, and what to tell the student who hands it in
    "alternative": False,  # another right answer
}
NAMED = ("exercise", "check", "judge", "experiment", "widget", "question", "trap", "alternative")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


@dataclass
class LabCell:
    """One cell of a lab. ``line`` is that of its marker; ``name`` links exercise, check, judge."""

    kind: str
    source: str
    line: int
    cell_type: str = "code"
    name: str | None = None
    label: str | None = None  # name= of a trap, an alternative or a given cell
    points: float | None = None
    parts: dict[str, float] = field(default_factory=dict)  # of a judge: points by part, or none
    tags: list[str] = field(default_factory=list)
    id: str = ""


@dataclass
class Lab:
    """A parsed lab. ``stem`` is the file's name, ``01_vision_transformer``."""

    path: Path
    stem: str
    number: str
    title: str
    cells: list[LabCell]
    masks: tuple[str, ...] = ()  # package files hidden while it is graded: they hold its answers

    def of(self, kind: str, name: str | None = None) -> list[LabCell]:
        """All cells of a kind (and, where given, of one exercise)."""
        return [c for c in self.cells if c.kind == kind and name in (None, c.name)]

    def one(self, kind: str, name: str) -> LabCell:
        return self.of(kind, name)[0]

    @property
    def exercises(self) -> list[str]:
        return [c.name for c in self.of("exercise")]

    @property
    def points(self) -> float:
        return sum(c.points for c in self.cells if c.points)


def read_lab(path: Path) -> Lab:
    """Parse and check a lab's source. Raises SourceError with file, line and the mend."""
    return parse_lab(path.read_text(encoding="utf-8"), path)


def parse_lab(text: str, path: Path) -> Lab:
    """The lab of a source's text; ``path`` names it, in errors too, and need not exist."""
    notebook = jupytext.reads(text, fmt="py:percent")
    if notebook.cells and notebook.cells[0].cell_type == "raw":  # the header's 'lab:' part
        del notebook.cells[0]
    lines = [i for i, line in enumerate(text.splitlines(), 1) if re.match(r"# %%(\s|$)", line)]
    if len(lines) != len(notebook.cells):
        raise SourceError(
            path,
            lines[0] if lines else 1,
            f"{len(lines)} cell markers but {len(notebook.cells)} cells",
            "begin every cell, the first after the header too, with a line '# %%'",
        )
    header = _header(path, text)
    cells = [_cell(path, line, cell) for line, cell in zip(lines, notebook.cells, strict=True)]
    masks = tuple(header.get("masks") or ())
    lab = Lab(path, path.stem, str(header["number"]), str(header["title"]), cells, masks)
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


def solution_code(source: str) -> str:
    """An exercise cell as a student who solved it would have it: without the markers."""
    return "\n".join(line for line in source.splitlines() if line.strip() not in (BEGIN, END))


def defined_names(source: str) -> list[str]:
    """Functions, classes and plain variables that a cell defines at top level."""
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [t.id for t in node.targets if isinstance(t, ast.Name)]
    return names


def _header(path: Path, text: str) -> dict[str, Any]:
    match = re.match(r"# ---\n((?:#.*\n)*?)# ---\n", text)
    header = yaml.safe_load(re.sub(r"(?m)^# ?", "", match.group(1))) if match else {}
    lab = (header or {}).get("lab") or {}
    for key in ("number", "title"):
        if key not in lab:
            raise SourceError(
                path, 1, f"the header says no lab {key}", f"add '{key}:' under 'lab:' in the header"
            )
    return lab


def _cell(path: Path, line: int, cell: Any) -> LabCell:
    meta = dict(cell.metadata)
    meta.pop("lines_to_next_cell", None)  # jupytext's own note about blank lines
    tags = meta.pop("tags", [])
    points, label = meta.pop("points", None), meta.pop("name", None)
    kinds = [k for k in NAMED if k in meta]
    unknown = [k for k in meta if k not in NAMED]
    if unknown:
        raise SourceError(
            path,
            line,
            f"unknown cell key {unknown[0]!r}",
            f"allowed: {', '.join(NAMED)}, name, points, tags",
        )
    if len(kinds) > 1:
        raise SourceError(
            path, line, f"a cell cannot be both {kinds[0]} and {kinds[1]}", "split the cell"
        )
    if kinds:
        kind = kinds[0]
    elif cell.cell_type == "markdown":
        kind = "prose"
    else:
        kind = "parameters" if "parameters" in tags else "given"
    parts = parts_of(path, line, cell.source) if kind == "judge" else {}
    return LabCell(
        kind, cell.source, line, cell.cell_type, meta.get(kind), label, points, parts, list(tags)
    )


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
