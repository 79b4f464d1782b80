"""Mistakes that a forward pass does not show: gradients, modes, inputs changed in place."""

import ast
import itertools
from collections.abc import Iterator
from typing import Any

from labsupport.grading.audit.tree import (
    ExerciseTree,
    called,
    expression,
    statement,
    tensor_like,
    tensor_names,
)


def detached(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """A tensor cut off from its gradient."""
    if not isinstance(node, ast.expr) or not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return
    parent, place = tree.parent(node), tree.field(node)
    used = isinstance(parent, ast.Assign | ast.Return | ast.BinOp | ast.Call | ast.Dict)
    used = used or (isinstance(parent, ast.Tuple | ast.List) and place == "elts")
    function = tree.enclosing(node, ast.FunctionDef)
    if used and place != "func" and called(parent) != "len" and _learns(function):
        if tensor_like(node, function):
            yield expression("value.detach()", value=node)


def no_grad(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.AST]:
    """A function or one statement without gradients."""
    if isinstance(node, ast.FunctionDef):
        if _learns(node):
            yield _function(node, decorator_list=[expression("torch.no_grad()")])
    elif isinstance(node, ast.Assign | ast.Return) and node.value:
        function = tree.enclosing(node, ast.FunctionDef)
        if _learns(function) and tensor_like(node.value, function):
            items = [ast.withitem(expression("torch.no_grad()"))]
            yield ast.With(items=items, body=[node])


def frozen(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """A layer or parameter of self that does not learn, or a tensor that is no parameter."""
    if isinstance(node, ast.Call) and tree.in_constructor(node):
        if isinstance(tree.parent(node), ast.Assign):
            yield expression("value.requires_grad_(False)", value=node)
        if called(node) == "Parameter":
            yield node.args[0]


def shared(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.expr]:
    """One layer used again and again where there should be several."""
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        counted = node.generators[0].iter
        if isinstance(counted, ast.Call) and called(counted) == "range" and len(counted.args) == 1:
            yield expression("[layer] * count", layer=node.elt, count=counted.args[0])


def mode(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.AST]:
    """Training and evaluation taken for each other, or dropout nobody asked for."""
    if isinstance(node, ast.FunctionDef) and node.name == "forward":
        for call in ("self.eval()", "self.train()"):
            yield _function(node, body=[statement(call), *node.body])
    if isinstance(node, ast.Return) and node.value is not None:
        function = tree.enclosing(node, ast.FunctionDef)
        method = function is not None and any(a.arg == "self" for a in function.args.args)
        for when in ("self.training", "not self.training") if method else ("True",):
            if not isinstance(node.value, ast.Tuple) and tensor_like(node.value, function):
                yield statement(f"return F.dropout(value, 0.1, {when})", value=node.value)


def in_place(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.AST | list[ast.stmt]]:
    """The input, or a layer's weight, changed by the way."""
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
        target = node.targets[0]
        if isinstance(target, ast.Name | ast.Attribute | ast.Subscript):
            if ast.unparse(target) == ast.unparse(node.value.left):
                yield ast.AugAssign(target, node.value.op, node.value.right)
    function = tree.enclosing(node, ast.FunctionDef)
    if isinstance(node, ast.Return) and node.value is not None and function is not None:
        given = {a.arg for a in function.args.args} & tensor_names(function)
        weights = {
            ast.unparse(n)
            for n in ast.walk(function)
            if isinstance(n, ast.Attribute)
            and n.attr in ("weight", "bias")
            and isinstance(n.value, ast.Name)
        }
        for name in sorted(given | weights):
            yield [
                statement("answer = value", value=node.value),
                statement(f"{name}.data.zero_()"),
                statement("return answer"),
            ]
    if isinstance(node, ast.FunctionDef) and node.name != "__init__":
        given = {a.arg for a in node.args.args} & tensor_names(node)
        for name, change in itertools.product(sorted(given), ("mul_(2)", "abs_()")):
            yield _function(node, body=[statement(f"{name}.data.{change}"), *node.body])


def _learns(function: ast.FunctionDef | None) -> bool:
    """Is there a gradient to lose: does a tensor, or a module with parameters, come in?"""
    if function is None or function.name == "__init__":
        return False
    given = {argument.arg for argument in function.args.args}
    return bool(given & (tensor_names(function) | {"self"}))


def _function(node: ast.FunctionDef, **changes) -> ast.FunctionDef:
    fields: dict[str, Any] = {name: getattr(node, name, None) for name in node._fields}
    return ast.FunctionDef(**(fields | changes))


OPERATORS = {
    "detached": detached,
    "no_grad": no_grad,
    "frozen": frozen,
    "shared": shared,
    "mode": mode,
    "in place": in_place,
}
