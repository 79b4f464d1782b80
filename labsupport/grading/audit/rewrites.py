"""Rewrites: right answers made out of a right one, an exercise's solution written otherwise.

Students write the same thing in many ways. Each rewrite here changes how an answer is written, what
it is stored in, or in which order it adds, and not what comes out beyond rounding. A rewrite is no
proof by itself: where it does not apply (an einsum of vectors, a buffer where a gradient is asked
for) it gives other numbers or none, so those alone count that agree with the solution, by a
measure of the audit's own (``agreement``) and not by the judge's.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from labsupport.course.lab import solution_code
from labsupport.grading.audit.wrappers import WRAPPERS, wrapped

Change = Callable[[ast.AST], ast.AST | list[ast.stmt] | None]


def rewrites_of(source: str) -> Iterator[tuple[str, str]]:
    """(kind, code) of every rewrite of an exercise cell that changes anything."""
    solved = solution_code(source)
    plain = ast.unparse(ast.parse(solved))
    seen = {plain}
    for kind, change in CHANGES.items():
        tree = _Rewriter(change).visit(ast.parse(solved))
        code = ast.unparse(ast.fix_missing_locations(tree))
        if code not in seen:
            seen.add(code)
            yield kind, code
    for kind in WRAPPERS:
        yield kind, wrapped(solved, kind)


class _Rewriter(ast.NodeTransformer):
    """Puts what ``change`` gives in the place of each node, from the inside out."""

    def __init__(self, change: Change):
        self.change = change

    def visit(self, node: ast.AST) -> Any:
        node = self.generic_visit(node)
        new = self.change(node)
        return node if new is None else new


def _expression(text: str, **parts: ast.AST) -> ast.expr:
    """The expression ``text`` with nodes in the place of the names in ``parts``."""
    tree = ast.parse(text, mode="eval").body

    class Fill(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.AST:
            return copy.deepcopy(parts[name.id]) if name.id in parts else name

    return Fill().visit(tree)


class _Call(NamedTuple):
    """A call of an attribute: ``func`` is ``value.name``."""

    node: ast.Call
    func: ast.Attribute

    def argument(self, position: int, name: str) -> ast.expr | None:
        if len(self.node.args) > position:
            return self.node.args[position]
        return next((word.value for word in self.node.keywords if word.arg == name), None)


def _method(node: ast.AST, *names: str) -> _Call | None:
    """A call ``value.name(...)`` of one of these methods, not of a module's function."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        root = node.func.value
        of_module = isinstance(root, ast.Name) and root.id in ("torch", "F", "nn", "np", "math")
        if node.func.attr in names and not of_module:
            return _Call(node, node.func)
    return None


def _function(node: ast.AST, *names: str) -> _Call | None:
    """A call of one of the dotted ``names``, such as ``F.relu``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if ast.unparse(node.func) in names:
            return _Call(node, node.func)
    return None


def _product(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return _expression("torch.einsum('...ij,...jk->...ik', a, b)", a=node.left, b=node.right)
    return None


def _matmul(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return _expression("torch.matmul(a, b)", a=node.left, b=node.right)
    return None


def _other_order(node: ast.AST) -> ast.AST | None:
    """A sum over one axis from its other end."""
    call = _method(node, "sum")
    axis = call and call.argument(0, "dim")
    if call and isinstance(axis, ast.Constant | ast.UnaryOp):
        call.func.value = _expression("x.flip(d)", x=call.func.value, d=axis)
        return call.node
    return None


def _mean_by_sum(node: ast.AST) -> ast.AST | None:
    call = _method(node, "mean")
    if call is None:
        return None
    axis = call.argument(0, "dim")
    value = call.func.value
    if axis is None and not call.node.args and not call.node.keywords:
        return _expression("x.sum() / x.numel()", x=value)
    if isinstance(axis, ast.Constant | ast.UnaryOp):
        summed = copy.deepcopy(call)
        summed.func.attr = "sum"
        return _expression("s / x.shape[d]", s=summed.node, x=value, d=axis)
    return None


def _softmax_by_hand(node: ast.AST) -> ast.AST | None:
    call = _method(node, "softmax")
    axis = call and call.argument(0, "dim")
    if call is None or axis is None:
        return None
    return _expression("(x - x.logsumexp(d, keepdim=True)).exp()", x=call.func.value, d=axis)


def _swap(node: ast.AST) -> ast.AST | None:
    """a + b is b + a where neither is a literal sequence or text."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        odd = (ast.List, ast.Tuple, ast.JoinedStr)
        text = [
            s
            for s in (node.left, node.right)
            if isinstance(s, ast.Constant) and isinstance(s.value, str)
        ]
        if not text and not isinstance(node.left, odd) and not isinstance(node.right, odd):
            return ast.BinOp(node.right, ast.Mult(), node.left)
    return None


def _activations(node: ast.AST) -> ast.AST | None:
    for name, text in (
        ("F.relu", "x.clamp(min=0)"),
        ("F.silu", "x * torch.sigmoid(x)"),
        ("F.gelu", "0.5 * x * (1 + torch.erf(x / 2 ** 0.5))"),
    ):
        call = _function(node, name)
        if call and len(call.node.args) == 1 and not call.node.keywords:
            return _expression(text, x=call.node.args[0])
    return None


def _losses(node: ast.AST) -> ast.AST | None:
    call = _function(node, "F.cross_entropy", "F.mse_loss")
    if call is None or len(call.node.args) != 2 or call.node.keywords:
        return None
    text = (
        "((a - b) * (a - b)).mean()"
        if call.func.attr == "mse_loss"
        else "-a.log_softmax(-1).gather(-1, b[:, None]).mean()"
    )
    return _expression(text, a=call.node.args[0], b=call.node.args[1])


def _normalize(node: ast.AST) -> ast.AST | None:
    call = _function(node, "F.normalize")
    axis = call and call.argument(2, "dim")
    if call is None or axis is None:
        return None
    return _expression("x / x.norm(dim=d, keepdim=True)", x=call.node.args[0], d=axis)


def _powers(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        if isinstance(node.right, ast.Constant) and node.right.value == 2:
            return _expression("x * x", x=node.left)
    call = _method(node, "square")
    return _expression("x * x", x=call.func.value) if call else None


def _roots(node: ast.AST) -> ast.AST | None:
    call = _function(node, "math.sqrt")
    return _expression("x ** 0.5", x=call.node.args[0]) if call else None


def _transposes(node: ast.AST) -> ast.AST | None:
    """What lies otherwise in memory, and says the same."""
    call = _method(node, "transpose", "permute", "flip", "expand")
    return _expression("x.contiguous()", x=call.node) if call else None


def _reshapes(node: ast.AST) -> ast.AST | None:
    """A clone behind each change of shape: no result shares memory with an input."""
    call = _method(node, "reshape", "view", "flatten", "unflatten")
    return _expression("x.clone()", x=call.node) if call else None


def _einops(node: ast.AST) -> ast.AST | None:
    call = _method(node, "transpose")
    if call and len(call.node.args) == 2 and not call.node.keywords:
        return _expression(
            "torch.swapaxes(x, a, b)", x=call.func.value, a=call.node.args[0], b=call.node.args[1]
        )
    return None


def _joined(node: ast.AST) -> ast.AST | None:
    """torch.stack as a cat of parts with a new axis."""
    call = _function(node, "torch.stack")
    if call and call.node.args:
        axis = call.argument(1, "dim") or ast.Constant(0)
        return _expression(
            "torch.cat([part.unsqueeze(d) for part in list(x)], d)", x=call.node.args[0], d=axis
        )
    return None


def _by_name(node: ast.AST) -> list[ast.stmt] | None:
    """A result has a name before it is returned."""
    if isinstance(node, ast.Return) and node.value is not None:
        if not isinstance(node.value, ast.Name | ast.Constant):
            return [
                ast.Assign([ast.Name("answer_", ast.Store())], node.value),
                ast.Return(ast.Name("answer_", ast.Load())),
            ]
    return None


CHANGES: dict[str, Change] = {
    "products by einsum": _product,
    "products by matmul": _matmul,
    "sums from the other end": _other_order,
    "a mean as a sum": _mean_by_sum,
    "softmax by hand": _softmax_by_hand,
    "factors exchanged": _swap,
    "activations by hand": _activations,
    "losses by hand": _losses,
    "lengths by norm": _normalize,
    "squares as products": _powers,
    "roots as powers": _roots,
    "contiguous on the way": _transposes,
    "clones on the way": _reshapes,
    "swapaxes": _einops,
    "list and cat": _joined,
    "named before it is returned": _by_name,
}
