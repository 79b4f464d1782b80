"""Proof of a lab: its own solution goes through each judge and each visible check.

What refuses the lab's own solution would refuse every student's, and blame them for it.
"""

import ast
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from labsupport.answers.respond import LabNamespace
from labsupport.course.judge_cell import bound_names
from labsupport.course.lab import Lab, solution_code
from labsupport.grading.judging.judge import AnswerKey, JudgeError
from labsupport.grading.judging.lab_code import driver_source, namespace_of, run_cells
from labsupport.grading.judging.verdicts import Finding, Verdict
from labsupport.grading.running.limits import RunLimits

SEEDS = ("proof-1", "proof-2", "proof-3")  # no student's
SHOWN = ("given", "parameters")  # cells that a check may need besides setup and exercises


def failures(lab: Lab, cell_seconds: float = RunLimits.cell_seconds) -> list[str]:
    """Why a lab must not be handed out or graded, a line for each exercise; [] where it may be.

    Nothing in the place of an exercise must not pass, and the solution has ``cell_seconds`` of
    processor time to answer.
    """
    try:
        key, solved = AnswerKey(lab), LabNamespace(namespace_of(lab))
    except JudgeError as error:
        return [str(error)]
    found = []
    for name in lab.exercises:
        with contextlib.suppress(StopIteration):
            found.append(next(_of_exercise(key, solved, name, cell_seconds)))
    return found


def _of_exercise(
    key: AnswerKey, solved: LabNamespace, name: str, cell_seconds: float
) -> Iterator[str]:
    lab = key.lab
    judge = lab.one("judge", name)
    for module in _hidden_imports(lab, driver_source(judge.source) or ""):
        yield (
            f"{lab.stem}: the judge of {name}: drive imports {module}, which is hidden where "
            "students' code runs (masks)"
        )
    try:
        for seed in SEEDS:
            begin = time.process_time()
            verdict = _verdict(key, solved, name, seed)
            seconds = time.process_time() - begin
            if verdict.status != "passed":
                yield f"{lab.stem}: the judge of {name} refuses the lab's own solution: " + (
                    verdict.message
                )
            if seconds > cell_seconds:
                yield (
                    f"{lab.stem}: the judge of {name} takes {seconds:.0f} s on the lab's own "
                    f"solution, and a submission has {cell_seconds:g} s"
                )
        if _verdict(key, LabNamespace(_without(lab, name)), name, SEEDS[0]).status == "passed":
            yield f"{lab.stem}: the judge of {name} passes a notebook that lacks {name}"
    except JudgeError as error:
        yield str(error)
    red = _check(lab, name)
    if red:
        yield f"{lab.stem}: the check of {name} refuses the lab's own solution: {red}"


def _verdict(key: AnswerKey, names: LabNamespace, exercise: str, seed: str) -> Verdict:
    found: list[Finding] = []
    for challenge in key.challenges(exercise, seed):
        answers = key.judge(exercise).answers(names, challenge.cases)
        found += key.findings(challenge, {"nonce": challenge.nonce, "answers": answers})
    return key.score(exercise, found)


def _without(lab: Lab, exercise: str) -> dict[str, Any]:
    """The lab's names, solved, but for those that an exercise defines."""
    names = namespace_of(lab)
    for node in ast.parse(lab.one("exercise", exercise).source).body:
        for name in bound_names(node):
            names.pop(name, None)
    return names


def _check(lab: Lab, exercise: str) -> str:
    """What the visible check says of the solution, "" where it is green."""
    check = lab.one("check", exercise)
    names = namespace_of(lab)
    red = _said(check.source, names)
    if red.startswith("NameError"):  # of a name that a demonstration defines
        names = run_cells(lab.stem, [])
        for cell in lab.cells[: lab.cells.index(check)]:
            if cell.kind in (*SHOWN, "exercise") and cell.cell_type == "code":
                _said(solution_code(cell.source), names)
                names["PROFILE"] = "smoke"
        red = _said(check.source, names)
    return red


def _said(code: str, names: dict) -> str:
    try:
        exec(compile(code, "<cell>", "exec"), names)
    except Exception as error:
        lines = str(error).splitlines() or ["no reason was given"]
        return lines[0] if type(error).__name__ == "CheckFailed" else _named(error)
    return ""


def _named(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _hidden_imports(lab: Lab, source: str) -> list[str]:
    """Modules of the package that code imports and the sandbox hides."""
    hidden = {f"labsupport.{name.removesuffix('.py').replace('/', '.')}" for name in lab.masks}
    asked = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            asked |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            asked |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return sorted(asked & hidden)
