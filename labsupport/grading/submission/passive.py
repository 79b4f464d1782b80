"""Passive cells: given ones that a grade cannot depend on, demonstrations and visible checks.

A lab's demonstrations cost more time than everything that is judged. A cell is passive where
nothing that is run for a grade reads a name that it binds or changes, and where all it does
besides is to draw or print. A visible check is passive where nothing reads a name that it sets:
it asks the student's code and changes none of it. The rule is careful: what it cannot tell is run.
"""

import ast
import symtable
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from labsupport.course.lab import LabCell
from labsupport.grading.submission.cell_code import parsed, transformed
from labsupport.grading.submission.drawing_names import drawing_names, imported_names

# With one of these, code may read any name.
READS_ALL = frozenset(
    {
        "globals",
        "locals",
        "vars",
        "dir",
        "eval",
        "exec",
        "compile",
        "__main__",
        "get_ipython",
        "__import__",
        "importlib",
        "sys",
        "inspect",
        "gc",
        "_",
        "__",
        "In",
        "Out",
    }
)


@dataclass
class _Code:
    """``free`` are global names it reads, ``bound`` those it sets or changes; ``acts`` where it
    does something else, or nobody knows what."""

    free: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    acts: bool = False


def passive_cells(
    sources: Sequence[str], roles: Sequence[LabCell | None], not_run: Sequence[str] = ()
) -> set[int]:
    """The places of the passive cells of a submission in the lab's form.

    ``roles`` are the lab's cells in the same places, None for a student's own; cells of the kinds
    ``not_run`` are out of the question. A given cell tagged ``setup`` is always run.
    """
    showing = _showing(sources, roles, not_run)
    candidates: dict[int, _Code] = {}
    read: set[str] = set()
    for place, (source, role) in enumerate(zip(sources, roles, strict=True)):
        if role is not None and (role.cell_type != "code" or role.kind in not_run):
            continue
        if role is not None and role.kind == "given" and "setup" not in role.tags:
            candidates[place] = _read(role.source, True, showing)
        elif role is not None and role.kind == "check":
            names = _bound(symtable.symtable(role.source, "<check>", "exec"))
            candidates[place] = _Code(_read(role.source, True, showing).free, names)
        elif role is not None and role.kind == "judge":
            # its driver names what it needs as attributes of the lab
            read |= {
                n.attr for n in ast.walk(ast.parse(role.source)) if isinstance(n, ast.Attribute)
            }
        else:
            code = _read(source, role is not None and role.kind != "exercise", showing)
            if code.free & READS_ALL:
                return set()
            read |= code.free
    passive = {place for place, code in candidates.items() if not code.acts}
    read.update(*(candidates[place].free for place in candidates.keys() - passive))
    while needed := {place for place in passive if candidates[place].bound & read}:
        passive -= needed
        read.update(*(candidates[place].free for place in needed))
    return passive


def _showing(
    sources: Sequence[str], roles: Sequence[LabCell | None], not_run: Sequence[str]
) -> frozenset[str]:
    """Names whose calls, as statements, show something and change nothing: those that the lab's
    given cells import for it, and to which no cell that is run gives another meaning."""
    given = [role.source for role in roles if role is not None and role.kind == "given"]
    names = drawing_names(given)
    for source, role in zip(sources, roles, strict=True):
        if role is None or (role.cell_type == "code" and role.kind not in ("judge", *not_run)):
            names -= _set_otherwise(role.source if role and role.kind == "given" else source)
    return names


@lru_cache(maxsize=1000)
def _set_otherwise(source: str) -> frozenset[str]:
    """Names that a cell sets at its top level and not by the import of something that draws."""
    text = transformed(source)
    if text is None:
        return frozenset()  # it does not compile and will not run
    top = symtable.symtable(text, "<cell>", "exec")
    imported = {name for name, _ in imported_names(source)}
    return frozenset(_bound(top) - (imported & drawing_names([source])))


def _bound(top: symtable.SymbolTable) -> set[str]:
    return {
        s.get_name()
        for s in top.get_symbols()
        if s.is_assigned() or s.is_imported() or s.is_namespace()
    }


@lru_cache(maxsize=1000)  # a class has most cells in common
def _read(source: str, trusted: bool, showing: frozenset[str]) -> _Code:
    """What a cell reads and sets. In a ``trusted`` cell a name that it sets is its own; in a
    student's it may be read before it is set. Not to be changed."""
    text = transformed(source)
    if text is None:
        return _Code(acts=True)  # it does not compile: it will read nothing
    code, tree = _Code(), parsed(text)
    for node in ast.walk(tree):
        _note(node, code, showing)
    top = symtable.symtable(text, "<cell>", "exec")
    code.bound |= _bound(top)
    code.free = _free(top)
    if trusted:
        code.free -= {s.get_name() for s in top.get_symbols() if s.is_assigned()}
    return code


def _note(node: ast.AST, code: _Code, showing: frozenset[str]) -> None:
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
        called = node.value.func if isinstance(node.value, ast.Call) else None
        root = _root(called) if called is not None else None
        if root is None or (isinstance(called, ast.Name) and root not in showing):
            code.acts = True
        elif root in READS_ALL:
            code.acts = True  # a magic, say
        elif root not in showing:
            code.bound.add(root)  # a method may change what it is called on
    elif isinstance(node, ast.Call) and _root(node.func) not in showing:
        # a function may change what it is given
        given = [*node.args, *(word.value for word in node.keywords)]
        code.bound |= {n.id for n in given if isinstance(n, ast.Name)}
    elif isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
        root = _root(node)
        code.acts |= root is None
        code.bound |= {root} if root else set()
    elif isinstance(node, ast.Global | ast.Nonlocal | ast.Await | ast.Raise):
        code.acts = True


def _root(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _free(table: symtable.SymbolTable) -> set[str]:
    """Global names that a scope or one inside it reads."""
    at_top = table.get_type() == "module"
    found = {
        s.get_name() for s in table.get_symbols() if s.is_referenced() and (at_top or s.is_global())
    }
    return found.union(*(_free(child) for child in table.get_children()))
