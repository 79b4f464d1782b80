"""All mutants of an exercise: its solution with one small mistake each, described and unique."""

import ast
import difflib
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from labsupport.course.lab import LabCell
from labsupport.grading.audit import axes, learning, statements, values
from labsupport.grading.audit.library import library_mutants
from labsupport.grading.audit.tree import ExerciseTree, Operator

# name -> what gives a node's changes
TENSOR_OPERATORS: dict[str, Operator] = {
    **axes.OPERATORS,
    **values.OPERATORS,
    **learning.OPERATORS,
    **statements.OPERATORS,
}


@dataclass(frozen=True)
class Mutant:
    """A solution with one mistake. ``before`` and ``after`` are the lines that differ, as
    ``ast.unparse`` writes them, so that layout and comments of the source do not matter."""

    exercise: str
    operator: str
    where: str  # "EncoderBlock.forward"
    before: str
    after: str
    code: str

    @property
    def identity(self) -> tuple[str, str, str, str, str]:
        """What an equivalent is declared by."""
        return self.exercise, self.operator, self.where, self.before, self.after

    @property
    def digest(self) -> str:
        """A fixed pseudo-random order, for samples that are the same everywhere."""
        return hashlib.sha256("\0".join(self.identity).encode()).hexdigest()


def mutants_of(cell: LabCell) -> list[Mutant]:
    """Every mutant of an exercise cell once, tensor-aware ones first."""
    original = ast.unparse(ast.parse(cell.source))
    seen, found = {original}, []
    for operator, code in _all(cell.source):
        try:
            with warnings.catch_warnings():  # "'int' object is not callable; perhaps ..."
                warnings.simplefilter("ignore", SyntaxWarning)
                compile(code, "<mutant>", "exec")
        except (SyntaxError, ValueError):  # no Python, so no student's notebook
            continue
        if code not in seen:
            seen.add(code)
            where, before, after = _describe(original, code)
            found.append(Mutant(cell.name, operator, where, before, after, code))
    return found


def _all(source: str) -> Iterator[tuple[str, str]]:
    tree = ExerciseTree(source)
    for node in list(tree.nodes()):
        for name, operator in TENSOR_OPERATORS.items():
            for new in operator(node, tree):
                yield name, tree.source_with(node, new)
    for name, code in library_mutants(source):
        try:
            yield name, ast.unparse(ast.parse(code))
        except SyntaxError:
            continue


def _describe(original: str, mutated: str) -> tuple[str, str, str]:
    old, new = original.splitlines(), mutated.splitlines()
    before: list[str] = []
    after: list[str] = []
    first = None
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag != "equal":
            before += old[i:i_end]
            after += new[j:j_end]
            if first is None:  # an inserted line belongs to the line before, a decorator to the def
                inserted = i == i_end and not new[j].lstrip().startswith("@")
                first = i if inserted else i + 1
    where = _function_at(original, first or 0)
    return where, _lines(before), _lines(after)


def _lines(lines: list[str]) -> str:
    return "\n".join(line.strip() for line in lines)


def _function_at(source: str, line: int) -> str:
    """The dotted name of the innermost function or class that holds a line."""
    names, body = [], ast.parse(source).body
    while body:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                if node.lineno <= line <= (node.end_lineno or 0):
                    names.append(node.name)
                    body = node.body
                    break
        else:
            break
    return ".".join(names)
