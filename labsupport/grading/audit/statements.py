"""Mistakes with whole statements: one that is missing, a return too early, a loop too short."""

import ast
from collections.abc import Iterator

from labsupport.grading.audit.tree import ExerciseTree, Operator, called, expression, statement


def removed(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.stmt]:
    """A statement left out."""
    if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield ast.Pass()


def early_return(node: ast.AST, tree: ExerciseTree) -> Iterator[list[ast.stmt]]:
    """What has just been computed, returned at once, where that is not what comes next."""
    if isinstance(node, ast.Assign) and tree.enclosing(node, ast.FunctionDef) is not None:
        names = [t.id for t in ast.walk(node.targets[0]) if isinstance(t, ast.Name)]
        if not tree.in_constructor(node):
            block = getattr(tree.parent(node), tree.field(node))
            after = [ast.unparse(line) for line in block[block.index(node) + 1 :][:1]]
            for name in names:
                if f"return {name}" not in after:
                    yield [node, statement(f"return {name}")]


def loop_cut(node: ast.AST, tree: ExerciseTree) -> Iterator[ast.AST]:
    """A loop that ends after its first round, or runs one round too few or too many."""
    if isinstance(node, ast.For):
        yield ast.For(node.target, node.iter, [*node.body, ast.Break()], node.orelse)
    if isinstance(node, ast.Call) and called(node) == "range" and len(node.args) == 1:
        for form in ("range(n - 1)", "range(1, n)", "range(n + 1)", "range(1)"):
            yield expression(form, n=node.args[0])


OPERATORS: dict[str, Operator] = {
    "removed": removed,
    "early return": early_return,
    "loop cut": loop_cut,
}
