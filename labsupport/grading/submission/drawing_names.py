"""Names that only draw: what a lab's given cells import to show something, found by reading code.

A name is one if it comes from ``labsupport.notebook.plot`` or ``labsupport.notebook.environment``,
or from a lab's room that draws and does not train. No module is imported to find out.
"""

import ast
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import labsupport
from labsupport.grading.submission.cell_code import tree_of

ALWAYS = frozenset({"print", "display"})
SHOWING = ("labsupport.notebook.plot", "labsupport.notebook.environment")
DRAWING = ("labsupport.notebook.plot", "labsupport.notebook.widgets")
TRAINING = ("labsupport.training",)  # a room that trains changes what it is given
LABS = "labsupport.labs"


def drawing_names(sources: Iterable[str]) -> frozenset[str]:
    """The names that draw in a notebook whose given code is ``sources``; print and display too."""
    found = (imported for source in sources for imported in imported_names(source))
    return ALWAYS | {name for name, origin in found if _only_draws(origin)}


@lru_cache(maxsize=1000)
def imported_names(source: str) -> tuple[tuple[str, str], ...]:
    """(local name, where it comes from) of what a cell imports, (``charts``,
    ``labsupport.notebook.plot.charts``) say; none where it is broken."""
    tree = tree_of(source)
    return tuple(_imports(tree)) if tree is not None else ()


def _imports(tree: ast.AST) -> Iterable[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], alias.name


@lru_cache(maxsize=1000)
def _only_draws(origin: str) -> bool:
    if _within(origin, SHOWING):
        return True
    if not _within(origin, (LABS,)):
        return False
    room = _file(origin) or _file(origin.rpartition(".")[0])
    if room is None:
        return False
    used = [name for _, name in _imports(ast.parse(room.read_text(encoding="utf-8")))]
    return any(_within(u, DRAWING) for u in used) and not any(_within(u, TRAINING) for u in used)


def _file(module: str) -> Path | None:
    """A module's file, None where there is none: what is named is something inside a module."""
    place = Path(labsupport.__file__).parents[1].joinpath(*module.split("."))
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
