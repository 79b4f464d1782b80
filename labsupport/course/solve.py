"""Solution of a lab, executed with papermill: the notebook an instructor or self-learner reads."""

import copy
import tempfile
from pathlib import Path

import nbformat
import papermill
from nbformat.notebooknode import NotebookNode

from labsupport.course.build import dump, source_notebook
from labsupport.course.first_cells import KIND
from labsupport.course.lab import BEGIN, END, Lab
from labsupport.course.publication import Published


def solved_notebook(lab: Lab, published: Published | None = None) -> NotebookNode:
    """The lab with solutions and model answers in place, markers and graded lines removed."""
    notebook = copy.deepcopy(source_notebook(lab, published))
    notebook.cells = [
        c for c in notebook.cells if c.metadata.get("labsupport", {}).get("kind") != "judge"
    ]
    for cell in notebook.cells:
        kept = [line for line in cell.source.splitlines() if line.strip() not in (BEGIN, END)]
        cell.source = "\n".join(kept)
        for key in ("nbgrader", "editable", "deletable"):
            cell.metadata.pop(key, None)
    return notebook


def refresh_prose(lab: Lab, executed: Path, published: Published | None = None) -> bool:
    """Bring an executed solution's prose up to date with its source, without running anything;
    also where it is published, and the cell that finds the package, which does nothing here.

    True where nothing else had changed since it was run. Otherwise the file is left as it is:
    its figures may be those of other code.
    """
    if not executed.exists():
        return False
    notebook = nbformat.read(executed, as_version=4)
    wanted = solved_notebook(lab, published)
    if _code(notebook) != _code(wanted):
        return False
    done = {c.id: c for c in notebook.cells}
    notebook.cells = [done.get(cell.id, cell) for cell in wanted.cells]
    for cell, new in zip(notebook.cells, wanted.cells, strict=True):
        cell.source = new.source
    executed.write_text(dump(notebook), encoding="utf-8")
    return True


def _code(notebook: NotebookNode) -> list[tuple[str, str]]:
    return [
        (c.id, c.source)
        for c in notebook.cells
        if c.cell_type == "code" and c.metadata.get("labsupport", {}).get("kind") != KIND
    ]


def execute_solution(
    lab: Lab,
    target: Path,
    profile: str = "cpu",
    published: Published | None = None,
    progress: bool = True,
) -> Path:
    """Run the solved lab and write it with its figures to ``target``.

    Raises papermill's PapermillExecutionError, naming the cell, where a cell fails; nothing is
    written then.
    """
    with tempfile.TemporaryDirectory(prefix="labs-solve-") as scratch:
        before, after = Path(scratch) / "solved.ipynb", Path(scratch) / "executed.ipynb"
        before.write_text(dump(solved_notebook(lab, published)), encoding="utf-8")
        executed = papermill.execute_notebook(
            str(before),
            str(after),
            parameters={"PROFILE": profile} if profile != "cpu" else None,
            kernel_name="python3",
            cwd=scratch,
            progress_bar=progress,
        )
    target.write_text(dump(without_traces(executed)), encoding="utf-8")
    return target


def without_traces(notebook: NotebookNode) -> NotebookNode:
    """Drop what differs from run to run and tells a reader nothing."""
    notebook.metadata.pop("papermill", None)
    # of a widget its still picture is kept: a saved state hides it in an exported page
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            # progress bars and warnings are for the one who waits
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return notebook
