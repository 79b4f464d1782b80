"""Given cells that a student has edited: the lab's own text comes back, what was added is kept.

Statements are compared and not lines: what a formatter does on saving (imports sorted, split or
merged, other quotes and line breaks) is no edit.
"""

import ast
import importlib.util
import re
from collections import Counter
from dataclasses import dataclass, field

from labsupport.grading.submission.cell_code import parsed, transformed

_IMPORT = re.compile(r"(import|from)\s+[\w.]+.*")
MOST = 6  # things named in a note


@dataclass(frozen=True)
class _Item:
    """A statement, or one name of an import. ``key`` is equal where two mean the same."""

    key: str
    text: str
    imports: str = ""  # the top of what it imports from
    binds: frozenset[str] = frozenset()
    defines: bool = False  # functions, classes, values: nothing else happens


@dataclass
class Edit:
    """What became of an edited cell: ``added`` are the cells that follow it."""

    added: list[str] = field(default_factory=list)
    note: str = ""


def edit_of(source: str, released: str) -> Edit | None:
    """What a student changed in given code; None for nothing that matters."""
    ours, theirs = _items(released), _items(source)
    if ours is None:
        return None if source.split() == released.split() else Edit()
    if theirs is None:
        return _broken(source, ours)
    mine, own = Counter(i.key for i in ours), Counter(i.key for i in theirs)
    lost = [i for i in ours if not own[i.key]]
    added = [i for i in theirs if not mine[i.key]]
    if not lost and not added:
        return None if _steps(ours) == _steps(theirs) else Edit()
    taken = frozenset[str]().union(*(i.binds for i in ours))
    kept = [i for i in added if not lost or ((i.imports or i.defines) and not i.binds & taken)]
    left_out = [i for i in added if i not in kept]
    return Edit(_cells(kept), _note(kept, lost, left_out))


def _broken(source: str, ours: list[_Item]) -> Edit:
    """Of code that does not compile, the imports that do by themselves."""
    known = {i.key for i in ours}
    taken = frozenset[str]().union(*(i.binds for i in ours))
    lines = [line.strip() for line in source.splitlines() if _IMPORT.fullmatch(line.strip())]
    found = [i for line in lines for i in _items(line) or []]
    kept = [i for i in dict.fromkeys(found) if i.key not in known and not i.binds & taken]
    note = _note(kept, [], [])
    return Edit(_cells(kept), f"it did not compile{'; ' if note else ''}{note}")


def _items(source: str) -> list[_Item] | None:
    text = transformed(source)
    if text is None:
        return None
    return [item for node in parsed(text).body for item in _of(node)]


def _of(node: ast.stmt) -> list[_Item]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return []
    if isinstance(node, ast.Import):
        return [
            _imported(a.asname or a.name.split(".")[0], a, f"import {a.name}") for a in node.names
        ]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        return [
            _imported(a.asname or a.name, a, f"from {module} import {a.name}", f"{module}.{a.name}")
            for a in node.names
        ]
    binds, defines = _bound(node)
    return [_Item(ast.dump(node), ast.unparse(node), "", binds, defines)]


def _imported(local: str, alias: ast.alias, text: str, origin: str = "") -> _Item:
    origin = origin or alias.name
    text += f" as {alias.asname}" if alias.asname else ""
    top = origin.split(".")[0] or "."
    binds = frozenset() if local == "*" else frozenset({local})
    return _Item(f"import {local} {origin}", text, top, binds)


def _bound(node: ast.stmt) -> tuple[frozenset[str], bool]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return frozenset({node.name}), True
    stored = frozenset(
        n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    )
    return stored, isinstance(node, ast.Assign | ast.AnnAssign) and bool(stored)


def _steps(items: list[_Item]) -> list[str]:
    return [i.key for i in items if not i.imports]


def _cells(kept: list[_Item]) -> list[str]:
    """What was kept, as code in its order. What may fail stands alone and takes nothing along."""
    cells: list[list[str]] = []
    safe_before = False
    for item in kept:
        safe = _is_there(item.imports) if item.imports else "(" not in item.text.split("\n")[0]
        if safe and safe_before:
            cells[-1].append(item.text)
        else:
            cells.append([item.text])
        safe_before = safe
    return ["\n".join(lines) for lines in cells]


def _is_there(top: str) -> bool:
    try:
        return top != "google" and importlib.util.find_spec(top) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _note(kept: list[_Item], lost: list[_Item], left_out: list[_Item]) -> str:
    parts = (("kept after it", kept), ("put back", lost), ("left out", left_out))
    return "; ".join(f"{word}: {_listed(items)}" for word, items in parts if items)


def _listed(items: list[_Item]) -> str:
    texts = [i.text.splitlines()[0][:60] for i in items[:MOST]]
    more = len(items) - MOST
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")
