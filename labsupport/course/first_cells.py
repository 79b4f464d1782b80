"""First cells of a notebook: a badge where the course is published, and finding the package.

The package cannot help to find itself, so the cell holds all that it needs. Both cells are for
whoever opens the notebook; grading leaves them out.
"""

import ast

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from labsupport.course.publication import COLAB, Published

KIND = "install"  # of the cell that finds the package, in its metadata
_NAME = "find_or_install"
_BADGE = f"[![Open in Colab]({COLAB}/"
_LONGEST = 5000  # characters of a cell that may be ours
# pip leaves what is installed and new enough as it is: Colab keeps its torch, numpy and ipywidgets
_CODE = """\
# @title Run this first: it finds the course's package, or installs it
def find_or_install(published):
    import glob, importlib.util, os, subprocess, sys

    class CannotGoOn(Exception):
        def _render_traceback_(self):
            return [str(self)]  # one line says it all

    def is_here():  # a folder of that name is not the package
        return getattr(importlib.util.find_spec("labsupport"), "origin", None)

    drive = "/content/drive/MyDrive/"
    places = ("", "../", drive, drive + "*/")
    wheels = [max(found) for p in places if (found := glob.glob(p + "labsupport-*.whl"))]
    problem = (
        "The course's package, labsupport, is not installed here: put the file labsupport-....whl "
        f"that came with this notebook into {os.getcwd()} and run this cell again."
    )
    for source in filter(None, [published, *wheels]):
        if is_here():
            return
        print(f"Installing labsupport from {source}. This takes a minute or two.")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", source]
        done = subprocess.run(pip, capture_output=True, text=True)
        importlib.invalidate_caches()
        problem = "labsupport is installed now: restart the kernel, then run this cell again."
        if done.returncode:
            said = (done.stderr.strip() or "pip does not say why").splitlines()
            told = [line for line in said if line.lstrip().startswith(("fatal:", "ERROR:"))]
            problem = f"{source} could not be installed: {(told or said[-1:])[0].strip()}"
    if not is_here():
        raise CannotGoOn(problem)


find_or_install("@@")
del find_or_install"""


def with_first_cells(
    cells: list[NotebookNode], published: Published, stem: str
) -> list[NotebookNode]:
    """A lab's cells with ours: the badge above its title, the other below the title's card."""
    locked = {"editable": False, "deletable": False}
    badge = published.badge(stem)
    top = [new_markdown_cell(badge, id="colab-badge", metadata=dict(locked))] if badge else []
    find = new_code_cell(
        _CODE.replace("@@", published.source),
        id="find-package",
        metadata={
            **locked,
            "labsupport": {"kind": KIND},
            "jupyter": {"source_hidden": True},
            "cellView": "form",
        },
    )
    title = 1 if cells and cells[0].cell_type == "markdown" else 0
    return [*top, *cells[:title], find, *cells[title:]]


def is_first_cell(source: str) -> bool:
    """Whether a submitted cell is one of ours, of whatever release, and nothing else."""
    text = source.strip()
    if len(text) > _LONGEST:
        return False
    if text.startswith(_BADGE):
        return "\n" not in text
    if f"def {_NAME}(" not in text:
        return False
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    kinds = [type(node) for node in body]
    return kinds == [ast.FunctionDef, ast.Expr, ast.Delete] and text.count(_NAME) == 3
