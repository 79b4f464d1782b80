"""The rules of a lab's source; each broken one is named with file, line and the mend."""

import ast
import math
import re
from collections import Counter
from typing import Protocol

from labsupport.course.judge_cell import JudgeCell
from labsupport.course.lab import BEGIN, END, GRADED, Lab, LabCell, SourceError


class Refuse(Protocol):
    """Raises SourceError for a cell; without a ``line``, for its marker's."""

    def __call__(self, problem: str, mend: str, line: int | None = None) -> None: ...


def check_lab(lab: Lab) -> None:
    """Raises SourceError at the first broken rule, from the top of the file down."""
    exercises = {c.name: c for c in lab.of("exercise")}
    ids = Counter(c.id for c in lab.cells)
    for cell in lab.cells:
        _check_cell(lab, cell, exercises, ids)
    for exercise in lab.of("exercise"):
        for kind in ("check", "judge"):
            if not lab.of(kind, exercise.name):
                raise SourceError(
                    lab.path,
                    exercise.line,
                    f"exercise {exercise.name!r} has no {kind}",
                    f"add a cell '# %% {kind}=\"{exercise.name}\"'",
                )
    _check_demands(lab)
    _check_parameters(lab)


def _check_demands(lab: Lab) -> None:
    """What a judge asks for beyond the common contract stands in the exercise's card or stub."""
    card = ""
    for cell in lab.cells:
        if cell.kind == "prose":
            card = cell.source
        elif cell.kind == "exercise":
            told = f"{card}\n{_stub(cell.source)}"
            for judge in lab.of("judge", cell.name):
                JudgeCell(lab.path, judge.line, judge.source).check_demand(cell.name, told)


def _stub(source: str) -> str:
    """An exercise's code as students get it, without the solution."""
    return re.sub(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", "", source, flags=re.S)


def _check_cell(lab: Lab, cell: LabCell, exercises: dict[str, LabCell], ids: Counter) -> None:
    def refuse(problem: str, mend: str, line: int | None = None) -> None:
        raise SourceError(lab.path, line or cell.line, problem, mend)

    if ids[cell.id] > 1:
        what = f"{cell.kind} {cell.name!r}" + (f" named {cell.label!r}" if cell.label else "")
        refuse(f"there is another {what}", "give each its own name")
    if cell.kind in ("check", "judge", "trap", "alternative") and cell.name not in exercises:
        known = ", ".join(sorted(exercises)) or "none"
        refuse(f"{cell.kind} for an unknown exercise {cell.name!r}", f"exercises here: {known}")
    if cell.kind in GRADED:
        if not cell.points >= 0:
            refuse(
                f"{cell.kind} {cell.name!r} has {cell.points} points",
                "write points=N, or points=0 for one that does not count",
            )
        if cell.points and cell.parts and not math.isclose(sum(cell.parts.values()), cell.points):
            refuse(
                f"the parts of judge {cell.name!r} make {sum(cell.parts.values()):g} points, its "
                f"marker says {cell.points:g}",
                "give the parts the exercise's points",
            )
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
    _check_solutions(cell, refuse)
    if cell.cell_type == "code":
        _check_syntax(cell, refuse)
    if cell.kind == "judge":
        JudgeCell(lab.path, cell.line, cell.source).check(cell.name, exercises[cell.name])


def _check_solutions(cell: LabCell, refuse: Refuse) -> None:
    has_solution = cell.kind in ("exercise", "question")
    begin, end = BEGIN.lstrip("# "), END.lstrip("# ")
    open_at = None
    count = 0
    for offset, text in enumerate(cell.source.splitlines(), 1):
        line = cell.line + offset
        if begin in text:
            if not has_solution:
                refuse(f"solution markers in a {cell.kind} cell", "make it an exercise", line)
            if open_at:
                refuse(f"{begin} inside a solution", "end the first one before", line)
            open_at, count = line, count + 1
        elif end in text:
            if not open_at:
                refuse(f"{end} without a beginning", f"add '{BEGIN}'", line)
            open_at = None
    if open_at:
        refuse(f"{begin} is never ended", f"add '{END}'", open_at)
    if has_solution and not count:
        refuse(
            f"{cell.kind} {cell.name!r} has no solution markers",
            f"put the solution between '{BEGIN}' and '{END}'",
        )
    if cell.kind == "question" and count > 1:
        refuse(f"question {cell.name!r} has {count} solutions", "keep one")


def _check_syntax(cell: LabCell, refuse: Refuse) -> None:
    try:
        ast.parse(cell.source)
    except SyntaxError as error:
        refuse(
            f"Python cannot read this cell: {error.msg}",
            "mend the syntax (magics are not allowed in a source)",
            cell.line + (error.lineno or 1),
        )


def _check_parameters(lab: Lab) -> None:
    cells = lab.of("parameters")
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
