"""Audit one lab: make its mutants, judge them all, and sort them by what came out."""

import ast
import itertools
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from labsupport.course.lab import Lab, solution_code
from labsupport.course.source import read_lab
from labsupport.grading.audit.equivalents import read_equivalents
from labsupport.grading.audit.isolated import Limits
from labsupport.grading.audit.jailed import sandboxed
from labsupport.grading.audit.mutants import Mutant, mutants_of
from labsupport.grading.audit.results import (
    Alternative,
    ExerciseAudit,
    KnownMistake,
    LabAudit,
    Result,
)
from labsupport.grading.audit.rewrites import rewrites_of
from labsupport.grading.audit.workers import SEEDS, Job, judge_all
from labsupport.grading.judging.diagnosis import diagnosis_of

FAST = 60  # mutants in a fast audit, shared out evenly over the exercises
FAST_STEP = 5  # one rewrite in so many is tried in a fast audit


def audit_lab(
    source: Path,
    fast: bool = False,
    workers: int | None = None,
    limits: Limits | None = None,
    sandbox: bool = True,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> LabAudit:
    """Judge every mutant and every right answer of the lab in ``source``, alternatives and
    rewrites, and run each through the visible check.

    ``fast`` takes a fixed sample of mutants, and one seed for right answers. Raises ValueError
    when the judge refuses the lab's own solution: then what it says about mutants means nothing.
    """
    begin = time.monotonic()
    lab = read_lab(source)
    declared = read_equivalents(source)
    mutants = {cell.name: mutants_of(cell) for cell in lab.of("exercise")}
    known = {mutant.identity for mutant in itertools.chain(*mutants.values())}
    if fast:
        mutants = {name: _sample(all_, -(-FAST // len(mutants))) for name, all_ in mutants.items()}
    chosen = list(itertools.chain(*mutants.values()))
    right, traps = _right_answers(lab, fast), lab.of("trap")
    checks = {name: lab.one("check", name).source for name in lab.exercises}
    seeds = 1 if fast else len(SEEDS)
    jobs = [Job(name, code, seeds, checks[name], kind) for name, kind, _, code in right]
    jobs += [Job(trap.name, trap.source, 1, checks[trap.name]) for trap in traps]
    jobs += [Job(mutant.exercise, mutant.code, check=checks[mutant.exercise]) for mutant in chosen]
    outcomes = judge_all(source, jobs, workers or os.cpu_count() or 1, limits or Limits(), sandbox)
    outcomes = iter(progress(outcomes, len(jobs)))

    audits = {name: ExerciseAudit(name) for name in lab.exercises}
    for exercise, _, label, _ in right:
        answer = Alternative(exercise, label, next(outcomes))
        if label == "":
            _check_solution(lab, answer)
        elif answer.outcome.agrees:
            audits[exercise].alternatives.append(answer)
    for trap in traps:
        audits[trap.name].traps.append(KnownMistake(trap.label, diagnosis_of(trap), next(outcomes)))
    kinds = {name: changed_lines(lab, name) for name in lab.exercises}
    for mutant, outcome in zip(chosen, outcomes, strict=True):
        equivalent = declared.get(mutant.identity)
        reason = equivalent.reason if equivalent else ""
        own = kinds[mutant.exercise].get(outcome.hint, set())
        stray = bool(outcome.hint) and not own & set(mutant.before.splitlines())
        result = Result(mutant, outcome, reason, stray)
        audits[mutant.exercise].results.append(result)
    absent = [entry for entry in declared.values() if entry.identity not in known]
    seconds = time.monotonic() - begin
    return LabAudit(lab.stem, fast, list(audits.values()), absent, seconds, sandbox and sandboxed())


def _right_answers(lab: Lab, fast: bool) -> list[tuple[str, str, str, str]]:
    """(exercise, kind, label, code) of the solution, without a label, of every alternative and of
    every rewrite, ``fast`` of some rewrites."""
    sources = {name: lab.one("exercise", name).source for name in lab.exercises}
    answers = [(name, "", "", solution_code(source)) for name, source in sources.items()]
    answers += [(c.name, "", c.label, c.source) for c in lab.of("alternative")]
    for name, source in sources.items():
        rewrites = list(rewrites_of(source))[:: FAST_STEP if fast else 1]
        answers += [(name, "rewrite", kind, code) for kind, code in rewrites]
    return answers


def changed_lines(lab: Lab, exercise: str) -> dict[str, set[str]]:
    """For each diagnosis, the lines of the solution that its known mistake has otherwise: a
    mutant of another line is a mistake of another kind."""
    solved = solution_code(lab.one("exercise", exercise).source)
    right = [line.strip() for line in ast.unparse(ast.parse(solved)).splitlines()]
    changed: dict[str, set[str]] = {}
    for trap in lab.of("trap", exercise):
        wrong = {line.strip() for line in ast.unparse(ast.parse(trap.source)).splitlines()}
        lines = {line for line in right if line not in wrong}
        changed.setdefault(diagnosis_of(trap), set()).update(lines)
    return changed


def _check_solution(lab: Lab, answer: Alternative) -> None:
    outcome = answer.outcome
    if outcome.red:
        raise ValueError(
            f"{lab.stem}: the check of {answer.exercise} refuses the lab's own solution: "
            f"{outcome.red.splitlines()[0]}"
        )
    if outcome.passed < outcome.asked:
        raise ValueError(
            f"{lab.stem}: the judge of {answer.exercise} refuses the lab's own solution: "
            f"{outcome.later or outcome.message}"
        )


def _sample(mutants: list[Mutant], size: int) -> list[Mutant]:
    """A fixed choice: the same on every machine as long as the solution stays as it is."""
    return sorted(mutants, key=lambda mutant: mutant.digest)[:size]
