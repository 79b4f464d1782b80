"""Mistakes with values: a scale that is missing, arguments exchanged, another constant or type."""

import ast
import itertools
from collections.abc import Iterator
from typing import Any

from labsupport.grading.audit.tree import ExerciseTree, Node, called, expression, tensor_like

OTHER_FUNCTION = {
    "sin": ("cos",),
    "cos": ("sin",),
    "softmax": ("sigmoid", "log_softmax"),
    "sqrt": ("log",),
    "zeros": ("ones",),
    "ones": ("zeros",),
    "randn": ("rand", "zeros", "ones"),
    "mean": ("sum",),
    "sum": ("mean",),
    "gelu": ("relu",),
    "cat": ("stack",),
    "LayerNorm": ("Identity",),
}
OTHER_WORD = {"bicubic": ("bilinear", "nearest"), "bilinear": ("nearest",), "ij": ("xy",)}
IN_ORDER = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)
EITHER_WAY = ("transpose", "swapaxes", "maximum", "minimum")  # whose arguments have no order
PARTS = ("args", "elts", "values")


def operand_dropped(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """One side of an operation only: no scale, no residual, no bias; or no root."""
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Call) and called(node) in ("sqrt", "int", "exp", "log"):
        if len(node.args) == 1:
            yield node.args[0]


def swapped(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """Two arguments, elements or operands exchanged."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, IN_ORDER):
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node, ast.expr) and called(node) not in EITHER_WAY:
        for name in PARTS:
            parts = getattr(node, name, None)
            if not isinstance(parts, list):  # it has none, or is a lambda
                continue
            for i, j in itertools.combinations(range(len(parts)), 2):
                copy = list(parts)
                copy[i], copy[j] = copy[j], copy[i]
                yield _with(node, **{name: copy})
    if isinstance(node, ast.Call):
        for i, j in itertools.combinations(range(len(node.keywords)), 2):
            words = list(node.keywords)
            words[i] = ast.keyword(words[i].arg, node.keywords[j].value)
            words[j] = ast.keyword(words[j].arg, node.keywords[i].value)
            yield _with(node, keywords=words)


def part_dropped(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """A keyword left to its default, an entry of a dict or list left out, a bias switched off."""
    if isinstance(node, ast.Call):
        for word in node.keywords:
            yield _with(node, keywords=[k for k in node.keywords if k is not word])
        if called(node) in ("Linear", "Conv2d", "LayerNorm"):
            off = ast.keyword("bias", ast.Constant(False))
            yield _with(node, keywords=[k for k in node.keywords if k.arg != "bias"] + [off])
    elif isinstance(node, ast.Dict):
        for i in range(len(node.keys)):
            keys, values = list(node.keys), list(node.values)
            del keys[i], values[i]
            yield ast.Dict(keys, values)
    elif isinstance(node, ast.List | ast.Tuple) and isinstance(node.ctx, ast.Load):
        for i in range(len(node.elts)):
            yield _with(node, elts=[e for j, e in enumerate(node.elts) if j != i])
    elif isinstance(node, ast.Slice):
        for bound in ("lower", "upper"):
            if getattr(node, bound) is not None:
                yield _with(node, **{bound: None})
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value


def constant(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """A number doubled; a small or large one also ten times off, as an eps may be."""
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and value:
        yield ast.Constant(value * 2)
        if isinstance(value, float):
            yield ast.Constant(value * 10)
            yield ast.Constant(value / 10)


def other_name(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """A name taken for its neighbour: rows for columns, q for k, self.norm1 for self.norm2."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        function = tree.enclosing(node, ast.FunctionDef)
        for name in _neighbours(node.id, function) if function else []:
            yield ast.Name(name, ast.Load())
    elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
        made = tree.enclosing(node, ast.ClassDef)
        if isinstance(node.ctx, ast.Load) and made and not tree.in_constructor(node):
            for name in sorted(_attributes(made) - {node.attr}):
                yield ast.Attribute(node.value, name, node.ctx)


def other_function(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """A function's relative in its place: cosine for sine, zeros for ones; or another mode."""
    if isinstance(node, ast.Attribute):
        for name in OTHER_FUNCTION.get(node.attr, ()):
            yield ast.Attribute(node.value, name, node.ctx)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        for word in OTHER_WORD.get(node.value, ()):
            yield ast.Constant(word)


def dtype(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """A result rounded to half precision on the way. (Any floating dtype is right by itself.)"""
    assigned = isinstance(tree.parent(node), ast.Assign) and tree.field(node) == "value"
    returned = isinstance(tree.parent(node), ast.Return)
    if not (assigned or returned) or tree.in_constructor(node):
        return
    if isinstance(node, ast.expr) and tensor_like(node, tree.enclosing(node, ast.FunctionDef)):
        yield expression("value.bfloat16().float()", value=node)


def _with(node: Node, **changes: Any) -> Node:
    fields = {name: getattr(node, name) for name in node._fields if hasattr(node, name)}
    return type(node)(**(fields | changes))


def _neighbours(name: str, function: ast.FunctionDef) -> list[str]:
    """Names that are bound beside this one: in the same tuple, or as parameters."""
    groups = [[a.arg for a in function.args.args if a.arg != "self"]]
    for node in ast.walk(function):
        if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Store):
            groups.append([e.id for e in node.elts if isinstance(e, ast.Name)])
    return sorted({other for group in groups if name in group for other in group} - {name, "_"})


def _attributes(made: ast.ClassDef) -> set[str]:
    return {
        n.attr
        for n in ast.walk(made)
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)
    }


OPERATORS = {
    "operand dropped": operand_dropped,
    "swapped": swapped,
    "part dropped": part_dropped,
    "constant": constant,
    "other name": other_name,
    "other function": other_function,
    "dtype": dtype,
}
