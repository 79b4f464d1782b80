"""What a lab's source must obey; each broken rule is named with file, line and the mend."""

import ast
import math
from collections import Counter
from pathlib import Path
from typing import Any

BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"


class SourceError(Exception):
    """A mistake in a lab's source: ``file:line: problem; mend``."""

    def __init__(self, path: Path, line: int, problem: str, mend: str):
        self.path, self.line, self.problem, self.mend = path, line, problem, mend
        super().__init__(f"{path}:{line}: {problem}; {mend}")


def parts_of(path: Path, line: int, source: str) -> dict[str, float]:
    """What a judge cell's ``parts = {"name": points, ...}`` says, {} where there is none.

    It is read, not run: the student's notebook names the parts before there is any grading.
    """
    try:
        body = ast.parse(source).body
    except SyntaxError:  # check_lab says so, with the line
        return {}
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "parts":
            try:
                parts = ast.literal_eval(node.value)
                good = len(parts) > 1 and all(
                    isinstance(n, str) and n and type(p) in (int, float) and p > 0
                    for n, p in parts.items()
                )
            except (ValueError, TypeError, AttributeError):
                good = False
            if not good:
                raise SourceError(
                    path,
                    line + node.lineno,
                    "parts is not a dict of names and points",
                    'write it out for two parts or more: parts = {"encoder": 2, "decoder": 1}',
                )
            return {name: float(points) for name, points in parts.items()}
    return {}


def check_lab(lab: Any) -> None:
    """Check a parsed :class:`labsupport.course.source.Lab`. Raises SourceError at the first
    broken rule, from the top of the file down."""
    exercises = {c.name for c in lab.cells if c.kind == "exercise"}
    ids = Counter(c.id for c in lab.cells)
    for cell in lab.cells:
        _check_cell(lab, cell, exercises, ids)
    for exercise in (c for c in lab.cells if c.kind == "exercise"):
        for kind in ("check", "judge"):
            if not lab.of(kind, exercise.name):
                raise SourceError(
                    lab.path,
                    exercise.line,
                    f"exercise {exercise.name!r} has no {kind}",
                    f"add a cell '# %% {kind}=\"{exercise.name}\"'",
                )
    _check_parameters(lab)
    package = Path(__file__).parents[1]
    for name in lab.masks:
        if not (package / name).is_file():
            raise SourceError(
                lab.path,
                1,
                f"masks: there is no {name} in the package",
                "name a file such as models/vit.py",
            )


def _check_cell(lab: Any, cell: Any, exercises: set[str], ids: Counter) -> None:
    def refuse(problem: str, mend: str, line: int | None = None) -> None:
        raise SourceError(lab.path, line or cell.line, problem, mend)

    if ids[cell.id] > 1:
        what = f"{cell.kind} {cell.name!r}" + (f" named {cell.label!r}" if cell.label else "")
        refuse(f"there is another {what}", "give each its own name")
    if cell.kind in ("check", "judge", "trap", "alternative") and cell.name not in exercises:
        known = ", ".join(sorted(exercises)) or "none"
        refuse(f"{cell.kind} for an unknown exercise {cell.name!r}", f"exercises here: {known}")
    if cell.kind in ("judge", "question"):
        good = isinstance(cell.points, int | float) and not isinstance(cell.points, bool)
        if not good or cell.points <= 0:
            refuse(f"{cell.kind} {cell.name!r} has no points", "add points=N to its marker")
        if cell.parts and not math.isclose(sum(cell.parts.values()), cell.points):
            refuse(
                f"the parts of judge {cell.name!r} make {sum(cell.parts.values()):g} points, its "
                f"marker says {cell.points:g}",
                "give the parts the exercise's points",
            )
    elif cell.points is not None:
        refuse(f"points on a {cell.kind} cell", "points belong on judge and question cells")
    if cell.kind in ("trap", "alternative") and not cell.label:
        refuse(f"{cell.kind} of {cell.name!r} has no name", 'add name="..." to its marker')
    if cell.kind == "trap" and not cell.source.lstrip().startswith("#"):
        refuse(
            f"trap {cell.label!r} does not say what is wrong",
            "begin it with a comment: the diagnosis the student reads",
        )
    if (cell.cell_type == "markdown") != (cell.kind in ("prose", "question")):
        refuse(
            f"a {cell.kind} cell cannot be {cell.cell_type}",
            "only prose and questions are [markdown]",
        )
    _check_markers(cell, refuse)
    if cell.cell_type == "code":
        _check_code(cell, refuse)


def _check_markers(cell: Any, refuse: Any) -> None:
    has_solution = cell.kind in ("exercise", "question")
    open_at = None
    count = 0
    for offset, text in enumerate(cell.source.splitlines(), 1):
        line = cell.line + offset
        if BEGIN in text:
            if not has_solution:
                refuse(f"solution markers in a {cell.kind} cell", "make it an exercise", line)
            if open_at:
                refuse("BEGIN SOLUTION inside a solution", "end the first one before", line)
            open_at, count = line, count + 1
        elif END in text:
            if not open_at:
                refuse("END SOLUTION without a beginning", "add '### BEGIN SOLUTION'", line)
            open_at = None
    if open_at:
        refuse("BEGIN SOLUTION is never ended", "add '### END SOLUTION'", open_at)
    if has_solution and not count:
        refuse(
            f"{cell.kind} {cell.name!r} has no solution markers",
            "put the solution between '### BEGIN SOLUTION' and '### END SOLUTION'",
        )
    if cell.kind == "question" and count > 1:
        refuse(f"question {cell.name!r} has {count} solutions", "keep one")


def _check_code(cell: Any, refuse: Any) -> None:
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        refuse(
            f"Python cannot read this cell: {error.msg}",
            "mend the syntax (magics are not allowed in a source)",
            cell.line + (error.lineno or 1),
        )
    if cell.kind == "judge":
        functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
        if "ask" not in functions:
            refuse(f"judge {cell.name!r} has no ask(rng)", "define ask(rng), which yields cases")


def _check_parameters(lab: Any) -> None:
    cells = [c for c in lab.cells if c.kind == "parameters"]
    if len(cells) != 1:
        raise SourceError(
            lab.path,
            cells[1].line if cells else 1,
            f"{len(cells)} parameters cells",
            "a lab has one cell '# %% tags=[\"parameters\"]' with PROFILE and SEED",
        )
    for name in ("PROFILE", "SEED"):
        if f"{name} =" not in cells[0].source:
            raise SourceError(
                lab.path, cells[0].line, f"no {name} among the parameters", f"add '{name} = ...'"
            )
