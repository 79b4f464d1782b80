"""Notebooks, built out of a lab: the instructor's source for nbgrader, the student's, the solved.

The student's notebook is what nbgrader's own preprocessors make of the instructor's, so that
``notebooks/`` and an nbgrader release can be held against each other byte for byte.
"""

import ast
import re
from functools import lru_cache
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)
from traitlets.config import Config

from labsupport.course.first_cells import with_first_cells
from labsupport.course.judge_cell import bound_names
from labsupport.course.lab import BEGIN, END, KINDS, Lab, LabCell
from labsupport.course.points_told import check_parts_told, points_text, with_points
from labsupport.course.publication import Published
from labsupport.course.readable import check_readable, with_named_box

CONTRACT_MARK = "<!-- contract -->"  # stands for contract.md in a lab's source
ASSERTION = "from labsupport.notebook.solved import solved; solved({})"
PASSED = "from labsupport.notebook.solved import note; note({})"
CODE_STUB = "# YOUR CODE HERE\nraise NotImplementedError"
TEXT_STUB = "Your answer here."
NOWHERE = Published()
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def nbgrader_settings() -> Config:
    """How nbgrader has to be set so that its release equals ours."""
    config = Config()
    config.ClearSolutions.code_stub = {"python": CODE_STUB}
    config.ClearSolutions.text_stub = TEXT_STUB
    config.ClearSolutions.begin_solution_delimeter = BEGIN  # nbgrader's spelling
    config.ClearSolutions.end_solution_delimeter = END
    return config


def source_notebook(lab: Lab, published: Published | None = None) -> NotebookNode:
    """The notebook nbgrader starts from: solutions in place, no judge, trap or alternative.

    What is handed out says where the course is ``published`` and finds the package; None leaves
    those cells out, as grading does.
    """
    notebook = new_notebook(
        metadata={
            "kernelspec": KERNELSPEC,
            "language_info": {"name": "python"},
            "labsupport": {"lab": lab.number, "title": lab.title},
        }
    )
    cells: list[NotebookNode] = []
    for cell in lab.cells:
        if KINDS[cell.kind]:
            cells += _question(cell, lab) if cell.kind == "question" else [_cell(cell, lab)]
    notebook.cells = cells if published is None else with_first_cells(cells, published, lab.stem)
    nbformat.validate(notebook)
    return notebook


def student_notebook(lab: Lab, published: Published | None = None) -> NotebookNode:
    """What students open: no solutions, no outputs, checksums as nbgrader computes them."""
    notebook = source_notebook(lab, published)
    config = nbgrader_settings()
    resources: dict = {}
    steps = (LockCells, ClearSolutions, ClearOutput, CheckCellMetadata, ComputeChecksums)
    for step in steps:
        notebook, resources = step(config=config).preprocess(notebook, resources)
    nbformat.validate(notebook)
    return notebook


def dump(notebook: NotebookNode) -> str:
    """A notebook as text: sorted keys, one space of indent, a final newline."""
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def build_notebook(lab: Lab, notebooks: Path, published: Published = NOWHERE) -> Path:
    """Write the student's notebook and return its path. Rebuilding gives the same bytes."""
    check_parts_told(lab)
    check_readable(lab)
    path = notebooks / f"{lab.stem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump(student_notebook(lab, published)), encoding="utf-8")
    return path


def graded_line(cell: LabCell, names: list[str]) -> str:
    """What a student sees in the place of a judge: what is graded, and a line that fails while one
    of the ``names`` that the exercise defines is not solved, so that nbgrader's Validate does."""
    points = points_text(cell.points)
    if not cell.points:
        points = "which does not count"
    elif cell.parts:
        each = ", ".join(f"{name} {share:g}" for name, share in cell.parts.items())
        points += f" ({each})"
    told = [cell.name, *names]
    return (
        f"# Graded here: {cell.name}, {points}. When you hand in, your code answers fresh "
        f"inputs that are made for you alone.\n{ASSERTION.format(', '.join(map(repr, told)))}"
    )


def is_graded_line(source: str) -> bool:
    """Whether a cell is a graded line as some release had it: its points may have changed since."""
    line = r"# Graded here: \w+, [^\n]* inputs that are made for you alone\."
    code = re.escape(ASSERTION).replace(re.escape("{}"), r"[\w', ]*")
    return re.fullmatch(rf"{line}(\n{code})?", source) is not None


def _defined(exercise: LabCell) -> list[str]:
    """The names that an exercise's cell defines as it is handed out, at its top level."""
    solved: set[int] = set()
    inside = False
    for number, line in enumerate(exercise.source.splitlines(), 1):
        inside = (inside or line.strip() == BEGIN) and line.strip() != END
        solved |= {number} if inside else set()
    found = [
        name
        for node in ast.parse(exercise.source).body
        if node.lineno not in solved and not isinstance(node, ast.Import | ast.ImportFrom)
        for name in bound_names(node)
    ]
    return list(dict.fromkeys(found)) or [exercise.name]


def _cell(cell: LabCell, lab: Lab) -> NotebookNode:
    make = new_markdown_cell if cell.cell_type == "markdown" else new_code_cell
    source = cell.source
    if cell.kind == "judge":
        source = graded_line(cell, _defined(lab.one("exercise", cell.name)))
    if cell.kind == "prose":
        source = with_named_box(with_points(cell, lab)).replace(CONTRACT_MARK, _contract())
    metadata: dict = {"labsupport": {"kind": cell.kind}}
    if cell.kind == "check":  # folded: it is run before it is read
        source = f"# @title Check of {cell.name}\n{source}"
        if f'Check("{cell.name}"' not in source:  # which says by itself how it ended
            source += f"\n{PASSED.format(repr(cell.name))}"
        metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
    if cell.name:
        metadata["labsupport"]["name"] = cell.name
    if cell.tags:
        metadata["tags"] = cell.tags
    if cell.kind == "prose":
        # Locked in the browser, but unknown to nbgrader: a typo can be mended after release.
        metadata |= {"editable": False, "deletable": False}
    elif cell.kind != "parameters":
        metadata["nbgrader"] = _nbgrader(
            cell.id,
            grade=cell.kind == "judge",
            solution=cell.kind == "exercise",
            points=cell.points,
        )
    return make(source, id=cell.id, metadata=metadata)


@lru_cache(maxsize=1)
def _contract() -> str:
    """What holds for every exercise, to be folded out in a title card."""
    text = (Path(__file__).parent / "contract.md").read_text(encoding="utf-8")
    title, rest = text.split("**", 2)[1:]
    return f"<details><summary>{title}</summary>\n\n{rest.strip()}\n\n</details>"


def _question(cell: LabCell, lab: Lab) -> list[NotebookNode]:
    """A question becomes two cells: its text, locked, and the answer, graded by hand."""
    text, answer = re.split(rf"(?m)^{BEGIN}\n", with_points(cell, lab), maxsplit=1)
    label = {"labsupport": {"kind": "question", "name": cell.name}}
    statement = new_markdown_cell(
        text.rstrip(), id=cell.id, metadata=label | {"editable": False, "deletable": False}
    )
    reply = new_markdown_cell(
        f"{BEGIN}\n{answer.rstrip()}",
        id=f"answer-{cell.name}",
        metadata={
            "labsupport": {"kind": "answer", "name": cell.name},
            "nbgrader": _nbgrader(
                f"answer-{cell.name}", grade=True, solution=True, points=cell.points
            ),
        },
    )
    return [statement, reply]


def _nbgrader(grade_id: str, *, grade: bool, solution: bool, points: float | None) -> dict:
    data = {
        "schema_version": 3,
        "grade_id": grade_id,
        "grade": grade,
        "solution": solution,
        "locked": not solution,
        "task": False,
    }
    if grade:
        data["points"] = points
    return data
