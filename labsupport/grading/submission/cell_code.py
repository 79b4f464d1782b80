"""Code of a cell: what it says of itself, without running it."""

import ast
import re
import symtable
import warnings
from functools import lru_cache

from IPython.core.inputtransformer2 import TransformerManager

MAX_SOURCE = 200_000  # characters; longer code is not looked into


def compiles(source: str) -> bool:
    """Whether a cell's code is complete; IPython's magics and shell lines are allowed."""
    return tree_of(source) is not None


def defined_names(source: str) -> set[str]:
    """The functions and classes that a cell defines at its top level; none where it is broken."""
    tree = tree_of(source)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)} if tree else set()


def names_set(source: str) -> set[str]:
    """Every name that a cell sets at its top level, after a cell magic too; none where it is
    broken."""
    text = re.sub(r"\A\s*%%[^\n]*\n", "", source)
    code = transformed(text)
    if code is None:  # the names it would have set
        return set(re.findall(r"^(?:async\s+def|def|class)\s+(\w+)", text, re.M))
    symbols = symtable.symtable(code, "<cell>", "exec").get_symbols()
    return {s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace()}


@lru_cache(maxsize=1024)  # most of a class's cells are the lab's own
def transformed(source: str) -> str | None:
    """A cell's code as Python, its magics and shell lines as calls; None where it is broken."""
    if len(source) > MAX_SOURCE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in a student's string
            text = TransformerManager().transform_cell(source)
            compile(text, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            return text
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def parsed(text: str) -> ast.Module:
    """``ast.parse``, tried once more where Python 3.11 loses count of its own recursion: garbage
    that is collected meanwhile may report an error, whose traceback is parsed too."""
    try:
        return ast.parse(text)
    except SystemError:
        return ast.parse(text)


@lru_cache(maxsize=1024)
def tree_of(source: str) -> ast.Module | None:
    """A cell's code, magics as calls; None where it is broken or very long. Not to be changed."""
    if len(source) > MAX_SOURCE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in a student's string
            return parsed(TransformerManager().transform_cell(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
