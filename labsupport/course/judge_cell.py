"""A judge cell, read and not run: the names it may define, its parts, its tolerance, its cases.

The student's notebook names the parts before there is any grading, and a setting that nothing
would read is refused where it is written.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from labsupport.answers.tolerance import Tolerance
from labsupport.course.lab import LabCell, SourceError

# What grading looks for in a judge cell; any other name has to be used by one of the functions.
FUNCTIONS = ("ask", "drive", "accept")
SETTINGS = ("tolerance", "parts", "relies")


class JudgeCell:
    """The parsed code of a judge's cell; ``line`` is that of its marker. Raises SyntaxError."""

    def __init__(self, path: Path, line: int, source: str):
        self._path, self._line = path, line
        self.body = ast.parse(source).body

    def parts(self) -> dict[str, float]:
        """What ``parts = {"name": points, ...}`` says, {} where there is none."""
        node = self._setting("parts")
        if node is None:
            return {}
        try:
            parts = ast.literal_eval(node)
            good = len(parts) > 1 and all(
                isinstance(n, str) and n and type(p) in (int, float) and p > 0
                for n, p in parts.items()
            )
        except (ValueError, TypeError, AttributeError):
            good = False
        if not good:
            self._refuse(
                node,
                "parts is not a dict of names and points",
                'write it out for two parts or more: parts = {"encoder": 2, "decoder": 1}',
            )
        return {name: float(points) for name, points in parts.items()}

    def tolerance(self) -> Tolerance:
        """What ``tolerance = dict(rtol=..., ...)`` says; what it leaves out is as usual."""
        node = self._setting("tolerance")
        if node is None:
            return Tolerance()
        known = [f.name for f in fields(Tolerance)]
        said: dict[str, float] = {}
        for key, where, value in self._entries(node):
            if key not in known:
                self._refuse(
                    where, f"unknown key {key!r} in tolerance", f"allowed: {', '.join(known)}"
                )
            try:
                number = ast.literal_eval(value)
            except ValueError:
                number = None
            if type(number) not in (int, float) or not number >= 0:
                self._refuse(
                    where, f"{key} in tolerance is not a number", f"write it out: {key}=1e-4"
                )
            said[key] = number
        return Tolerance(**said)

    def check_demand(self, name: str, told: str) -> None:
        """Refuse a judge that is stricter than the common contract and does not say on which words
        of the card, ``told``, it relies."""
        usual, asked, relies = Tolerance(), self.tolerance(), self.relies()
        stricter = asked.float64 is not None or asked.rtol < usual.rtol or asked.atol < usual.atol
        if stricter and not relies:
            raise SourceError(
                self._path,
                self._line,
                f"judge {name!r} is stricter than the common contract",
                'say which words of the exercise\'s card ask for it: relies = "..."',
            )
        if relies and relies not in " ".join(told.split()):
            raise SourceError(
                self._path,
                self._line,
                f"judge {name!r} relies on words that its exercise's card does not have: "
                f"{relies!r}",
                "write them there, or ask for less",
            )

    def relies(self) -> str:
        """What ``relies = "..."`` says: words of the exercise's card on which a judge relies that
        asks for more than the common contract; "" where it does not."""
        node = self._setting("relies")
        if node is None:
            return ""
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            self._refuse(
                node, "relies is not a text", 'write out words of the card: relies = "..."'
            )
        return node.value

    def check(self, name: str, exercise: LabCell) -> None:
        """Refuse what nothing reads; ``name`` is the judge's, ``exercise`` the cell it judges."""
        bound = [(word, node) for node in self.body for word in bound_names(node)]
        functions = {n.name for n in self.body if isinstance(n, ast.FunctionDef)}
        if "ask" not in functions:
            raise SourceError(
                self._path,
                self._line,
                f"judge {name!r} has no ask(rng)",
                "define ask(rng), which yields cases",
            )
        for node in self.body:
            if not bound_names(node) and not _is_text(node):
                self._refuse(
                    node,
                    f"judge {name!r} does something besides defining names",
                    "do it in ask or drive: only what drive uses travels to the student's code",
                )
        count = Counter(word for word, _ in bound)
        read = used_by(self.body, FUNCTIONS)
        for word, node in bound:
            if word in FUNCTIONS + SETTINGS and count[word] > 1:
                self._refuse(node, f"judge {name!r} defines {word} more than once", "keep one")
            if word not in SETTINGS and node not in read:
                self._refuse(
                    node,
                    f"judge {name!r} defines {word!r}, which nothing reads",
                    f"a judge has {', '.join(FUNCTIONS + SETTINGS)}, and what its functions use",
                )
        self._check_cases(name, exercise)

    def _check_cases(self, name: str, exercise: LabCell) -> None:
        """Refuse an input that what is called does not take, such as a setting misspelt."""
        if any("drive" in bound_names(node) for node in self.body):
            takes = _arguments(self.body, "drive", skip=1)
        else:
            takes = _arguments(_parsed(exercise.source), name, skip=0)
        if takes is None:
            return
        for node in (n for statement in self.body for n in ast.walk(statement)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Case":
                for word in node.keywords:
                    if word.arg and word.arg not in {"name", "part", *takes}:
                        self._refuse(
                            word.value,
                            f"a case of judge {name!r} has {word.arg!r}, which is no input",
                            f"inputs here: {', '.join(takes)}; the one setting of a case is part",
                        )

    def _setting(self, name: str) -> ast.expr | None:
        for node in self.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and bound_names(node) == [name]:
                return node.value
        return None

    def _entries(self, node: ast.expr) -> Iterator[tuple[str, ast.expr, ast.expr]]:
        """(key, where it stands, value) of ``dict(key=value)`` or ``{"key": value}``."""
        call = isinstance(node, ast.Call) and ast.unparse(node.func) in ("dict", "Tolerance")
        if (
            isinstance(node, ast.Call)
            and call
            and not node.args
            and all(w.arg for w in node.keywords)
        ):
            yield from ((str(w.arg), w.value, w.value) for w in node.keywords)
        elif isinstance(node, ast.Dict) and all(
            isinstance(k, ast.Constant) and isinstance(k.value, str) for k in node.keys
        ):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value), key, value
        else:
            self._refuse(
                node, "tolerance is not written out", "write tolerance = dict(rtol=1e-3, atol=1e-4)"
            )

    def _refuse(self, node: ast.AST, problem: str, mend: str) -> NoReturn:
        raise SourceError(self._path, self._line + getattr(node, "lineno", 0), problem, mend)


def bound_names(node: ast.stmt) -> list[str]:
    """The names that a statement at top level defines; none where it does something else."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        places = [n for t in node.targets for n in ast.walk(t)]
        if any(isinstance(n, ast.Attribute | ast.Subscript) for n in places):
            return []  # it changes something that has been defined elsewhere
        return [n.id for n in places if isinstance(n, ast.Name)]
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) and node.value else []
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(a.asname or a.name).split(".")[0] for a in node.names]
    return []


def used_by(body: list[ast.stmt], names: tuple[str, ...]) -> set[ast.stmt]:
    """The statements that define some names, and all that these refer to."""
    binding = {name: node for node in body for name in bound_names(node)}
    wanted: set[ast.stmt] = set()
    queue = list(names)
    while queue:
        node = binding.get(queue.pop())
        if node is not None and node not in wanted:
            wanted.add(node)
            queue += [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    return wanted


def _arguments(body: list[ast.stmt], name: str, skip: int) -> list[str] | None:
    """The arguments of a function after the first ``skip``; None where any would do, or where
    there is no such function."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == name and not node.args.kwarg:
            given: list[Any] = [*node.args.posonlyargs, *node.args.args]
            return [a.arg for a in [*given[skip:], *node.args.kwonlyargs]]
    return None


def _parsed(source: str) -> list[ast.stmt]:
    """The statements of a cell; none where it is broken, which is refused where it stands."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return []


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
