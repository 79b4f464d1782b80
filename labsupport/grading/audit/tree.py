"""An exercise's syntax tree, in which one node at a time is exchanged and put back."""

import ast
from collections.abc import Callable, Iterator
from typing import TypeVar

from labsupport.course.lab import BEGIN, END

Node = TypeVar("Node", bound=ast.AST)
Change = ast.AST | list[ast.stmt]  # what may stand in a node's place
# calls that give numbers, not tensors
PLAIN_CALLS = {"int", "len", "range", "max", "min", "round", "float", "super"}
MODULES = ("torch", "nn", "F", "math", "np", "einops")
# calls that make tensors out of numbers
MAKERS = {
    "arange",
    "linspace",
    "logspace",
    "zeros",
    "ones",
    "full",
    "empty",
    "rand",
    "randn",
    "randperm",
    "eye",
    "randint",
}


class ExerciseTree:
    """The code of an exercise cell. Only what stands between the solution markers is changed."""

    def __init__(self, source: str):
        self.tree = ast.parse(source)
        self.regions = solution_regions(source)
        self._place: dict[int, tuple[ast.AST, str, int | None]] = {}
        for parent in ast.walk(self.tree):
            for name, value in ast.iter_fields(parent):
                for index, child in enumerate(value if isinstance(value, list) else [value]):
                    if isinstance(child, ast.AST):
                        position = index if isinstance(value, list) else None
                        self._place[id(child)] = (parent, name, position)

    def nodes(self) -> Iterator[ast.AST]:
        """Expressions and statements of the solution, and functions that hold some of it."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef):
                if any(self._inside(statement) for statement in node.body):
                    yield node
            elif isinstance(node, ast.stmt | ast.expr | ast.keyword) and self._inside(node):
                yield node

    def _inside(self, node: ast.stmt | ast.expr | ast.keyword) -> bool:
        return any(first <= node.lineno <= last for first, last in self.regions)

    def parent(self, node: ast.AST) -> ast.AST:
        return self._place[id(node)][0]

    def field(self, node: ast.AST) -> str:
        """The name of the parent's field in which a node stands."""
        return self._place[id(node)][1]

    def enclosing(self, node: ast.AST, kind: type[Node]) -> Node | None:
        """The nearest node of a kind around a node, or None."""
        around = node
        while id(around) in self._place:
            around = self.parent(around)
            if isinstance(around, kind):
                return around
        return None

    def in_constructor(self, node: ast.AST) -> bool:
        function = self.enclosing(node, ast.FunctionDef)
        return function is not None and function.name == "__init__"

    def source_with(self, node: ast.AST, new: Change) -> str:
        """The code with ``new`` in the place of ``node``; the tree itself stays as it is."""
        parent, name, index = self._place[id(node)]
        if index is None:
            setattr(parent, name, new)
        else:
            getattr(parent, name)[index : index + 1] = new if isinstance(new, list) else [new]
        try:
            return ast.unparse(ast.fix_missing_locations(self.tree))
        finally:
            if index is None:
                setattr(parent, name, node)
            else:
                length = len(new) if isinstance(new, list) else 1
                getattr(parent, name)[index : index + length] = [node]


Operator = Callable[[ast.AST, ExerciseTree], Iterator[Change]]  # the changes of one node


def solution_regions(source: str) -> list[tuple[int, int]]:
    """First and last line between each pair of solution markers, counted from 1."""
    regions, begin = [], 0
    for number, line in enumerate(source.splitlines(), 1):
        if line.strip() == BEGIN:
            begin = number + 1
        elif line.strip() == END:
            regions.append((begin, number - 1))
    return regions


def expression(text: str, **parts: ast.expr) -> ast.expr:
    """An expression from text in which names stand for given parts: ``"a.detach()", a=node``."""
    return _fill(ast.parse(text, mode="eval").body, parts)


def statement(text: str, **parts: ast.expr) -> ast.stmt:
    """A statement from text, with parts as in :func:`expression`."""
    return _fill(ast.parse(text).body[0], parts)


def _fill(node: ast.AST, parts: dict[str, ast.expr]):
    class Filler(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return parts.get(name.id, name)

    return Filler().visit(node)


def called(node: ast.AST) -> str:
    """The last part of the name that a call calls: ``softmax`` of ``scores.softmax(-1)``."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def integer(node: ast.AST) -> int | None:
    """The value of a literal like 2 or -1, else None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = integer(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return None


def tensor_like(node: ast.AST, function: ast.FunctionDef | None) -> bool:
    """Can this expression be a tensor, as far as its form tells?"""
    if isinstance(node, ast.Name):
        return function is not None and node.id in tensor_names(function)
    if isinstance(node, ast.Call):
        root = getattr(getattr(node.func, "value", None), "id", "")
        return called(node) not in PLAIN_CALLS and root not in ("math", "nn")
    if isinstance(node, ast.BinOp):
        return (
            isinstance(node.op, ast.MatMult)
            or tensor_like(node.left, function)
            or tensor_like(node.right, function)
        )
    if isinstance(node, ast.Subscript):
        return tensor_like(node.value, function)
    if isinstance(node, ast.Attribute):
        return node.attr not in ("shape", "dtype", "heads", "ndim")
    return False


def tensor_names(function: ast.FunctionDef) -> set[str]:
    """Names in a function that are used as tensors: with attributes, in ``@``, given to self's
    layers or as the first argument to another function."""
    found = set()
    for node in ast.walk(function):
        uses = []
        if isinstance(node, ast.Attribute):
            uses = [node.value]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            uses = [node.left, node.right]
        elif isinstance(node, ast.Call) and _takes_tensors(node):
            uses = node.args[:1]
        found |= {use.id for use in uses if isinstance(use, ast.Name)}
    return found - {"self", *MODULES}


def _takes_tensors(call: ast.Call) -> bool:
    if called(call) in PLAIN_CALLS | MAKERS or called(call)[:1].isupper():  # int, arange, Linear
        return False
    root = getattr(call.func, "value", None)
    return root is None or ast.unparse(root) in ("self", *MODULES)
