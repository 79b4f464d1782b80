"""A lab's page: its executed solution, with solutions folded or left out."""

import base64
import copy
import re
import struct
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from labsupport.course.first_cells import KIND as INSTALL
from labsupport.errors import CourseError

FIGURES = "figures"  # a folder of the site's static files
WIDGET = "application/vnd.jupyter.widget-view+json"
_SIZE = struct.Struct(">II")  # of a PNG, at byte 16
_STYLE = re.compile(r"<style>.*?</style>", re.S)  # of JupyterLab's output area


@dataclass
class LabPage:
    """``picture``: HTML of the lab's first figure, "" where it has none."""

    stem: str
    title: str
    picture: str
    notebook: NotebookNode


def lab_page(
    executed: Path, student: Path, static: Path, colab: str = "", solutions: bool = True
) -> LabPage:
    """A page of an ``executed`` solution and the ``student``'s notebook; its figures are written
    into the folder ``static``. ``colab``: where Colab opens the lab.

    Raises CourseError where one of the two is missing, or they are not of one lab.
    """
    for path in (executed, student):
        if not path.is_file():
            raise CourseError(f"{path} is not there: 'labs build --execute' makes it")
    solved = nbformat.read(executed, as_version=4)
    stubs = {c.id: c.source for c in nbformat.read(student, as_version=4).cells}
    figures = _Figures(executed.stem, static)
    cells: list[NotebookNode] = []
    for cell in solved.cells:
        about = cell.metadata.get("labsupport", {})
        kind, name = about.get("kind"), about.get("name", "")
        if kind == INSTALL or cell.id == "colab-badge":
            continue
        if kind in ("exercise", "answer") and cell.id not in stubs:
            raise CourseError(f"{student} lacks {name or cell.id}: 'labs build' makes it anew")
        cell = copy.deepcopy(cell)
        cell.metadata = NotebookNode()
        if cell.cell_type == "code":
            cell.outputs = [figures.shown(o) for o in cell.outputs if not _is_widget(o)]
        if kind == "exercise":
            cells += _exercise(cell, stubs[cell.id], name, solutions)
        elif kind == "answer":
            if solutions:
                cell.source = _folded(cell.source, "Show the model answer")
                cells.append(cell)
        else:
            if kind == "check":
                _fold(cell, f"check of {name}")
            cells.append(cell)
    title, picture = _head(cells, figures.first, colab)
    page = nbformat.v4.new_notebook(cells=cells)
    page.metadata = NotebookNode(
        kernelspec={"name": "python3", "display_name": "Python 3", "language": "python"},
        language_info={"name": "python", "pygments_lexer": "ipython3"},
    )
    return LabPage(executed.stem, title, picture, page)


def _exercise(cell: NotebookNode, stub: str, name: str, solutions: bool) -> list[NotebookNode]:
    """What a student is given, and the solution folded below it."""
    given = new_code_cell(stub)
    if not solutions:
        given.outputs = cell.outputs
        return [given]
    _fold(cell, f"solution of {name}")
    return [given, cell]


def _fold(cell: NotebookNode, what: str) -> None:
    cell.source = re.sub(r"\A# @title .*\n", "", cell.source)  # the fold says it
    cell.metadata = NotebookNode(
        tags=["hide-input"],
        mystnb={"code_prompt_show": f"Show the {what}", "code_prompt_hide": f"Hide the {what}"},
    )


def _folded(text: str, summary: str) -> str:
    return f'<details class="hide">\n<summary>{summary}</summary>\n\n{text}\n\n</details>'


def _is_widget(output: NotebookNode) -> bool:
    return WIDGET in output.get("data", {})  # its still comes next


def _head(cells: list[NotebookNode], picture: str, colab: str) -> tuple[str, str]:
    """Put picture and link below the title, which is returned."""
    first = cells[0].source
    title, _, rest = first.partition("\n")
    if cells[0].cell_type != "markdown" or not title.startswith("# "):
        raise CourseError(f"a lab begins with its title, not with {title!r}")
    link = f'<p class="open"><a href="{escape(colab)}">Open in Colab</a></p>' if colab else ""
    parts = (title, link, picture.replace("<img", '<img class="head"'), rest.strip("\n"))
    cells[0].source = "\n\n".join(filter(None, parts))
    return title.removeprefix("# ").strip(), picture


class _Figures:
    """Figures as files of their own: a page of text stays small, and each has its words."""

    def __init__(self, stem: str, static: Path) -> None:
        self.stem, self.folder = stem, static / FIGURES
        self.count, self.first = 0, ""
        self.folder.mkdir(parents=True, exist_ok=True)

    def shown(self, output: NotebookNode) -> NotebookNode:
        """An output as the page has it."""
        data = output.get("data", {})
        if "image/png" in data:
            html = self._picture(data["image/png"], output.metadata.get("image/png", {}))
        elif "text/html" in data:
            html = _STYLE.sub("", data["text/html"])
            html = html.replace("<table", '<div class="wide" tabindex="0"><table')
            html = html.replace("</table>", "</table></div>")
        else:
            return output
        return new_output("display_data", {"text/html": html})

    def _picture(self, encoded: str, about: dict) -> str:
        png = base64.b64decode(encoded)
        self.count += 1
        name = f"{self.stem}-{self.count}.png"
        (self.folder / name).write_bytes(png)
        width, height = _SIZE.unpack_from(png, 16)
        shown = about.get("width") or width // 2  # drawn for screens of twice the density
        told = escape(" ".join(str(about.get("alt", "")).split()))
        html = (
            f'<img src="_static/{FIGURES}/{name}" alt="{told}" width="{shown}" '
            f'height="{round(shown * height / width)}">'
        )
        self.first = self.first or html
        return html
