"""Mistakes with axes: the wrong one, a transpose that is missing, a pattern in another order."""

import ast
import itertools
import re
from collections.abc import Iterator

from labsupport.grading.audit.tree import ExerciseTree, called, expression, integer

AXIS_KEYWORDS = {"dim", "axis", "dims", "start_dim", "end_dim", "dim0", "dim1", "start_axis"}
AXIS_CALLS = {
    "softmax",
    "log_softmax",
    "sum",
    "mean",
    "var",
    "std",
    "amax",
    "amin",
    "argmax",
    "cumsum",
    "cat",
    "stack",
    "split",
    "chunk",
    "unbind",
    "select",
    "narrow",
    "squeeze",
    "unsqueeze",
    "transpose",
    "swapaxes",
    "movedim",
    "flatten",
    "unflatten",
    "normalize",
    "size",
}
MOVES = {"transpose", "permute", "swapaxes", "movedim"}
PATTERNS = {"einsum", "rearrange", "reduce", "repeat"}


def axis(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """Another axis: -2, -1, 0, 1 or 2."""
    value = integer(node)
    if value is None:
        return
    parent = tree.parent(node)
    by_name = isinstance(parent, ast.keyword) and parent.arg in AXIS_KEYWORDS
    if by_name or (called(parent) in AXIS_CALLS and tree.field(node) == "args"):
        for other in (-2, -1, 0, 1, 2):
            if other != value:
                yield ast.Constant(other)


def transpose_dropped(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """No transpose, or a reshape where a transpose belongs: right shape, scrambled values."""
    if (
        isinstance(node, ast.Call)
        and called(node) in MOVES
        and isinstance(node.func, ast.Attribute)
    ):
        yield node.func.value
        yield expression("before.reshape(after.shape)", before=node.func.value, after=node)
    elif isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield node.value


def pattern(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """An einsum or einops pattern with two axes of its result exchanged."""
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return
    if called(tree.parent(node)) not in PATTERNS or "->" not in node.value:
        return
    given, result = node.value.split("->")
    for left, right in itertools.combinations(list(re.finditer(r"[A-Za-z_]\w*", result)), 2):
        yield _exchanged(given, result, left.span(), right.span())
    if " " not in result.strip():  # einsum: axes are single letters
        start = len(result) - len(result.lstrip())
        for i, j in itertools.combinations(range(start, len(result)), 2):
            yield _exchanged(given, result, (i, i + 1), (j, j + 1))


def _exchanged(given: str, result: str, first: tuple, second: tuple) -> ast.Constant:
    (a, b), (c, d) = first, second
    swapped = result[:a] + result[c:d] + result[b:c] + result[a:b] + result[d:]
    return ast.Constant(f"{given}->{swapped}")


OPERATORS = {"axis": axis, "transpose dropped": transpose_dropped, "pattern": pattern}
