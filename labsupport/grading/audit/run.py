"""Audit one lab: make its mutants, judge them all, and sort them by what came out."""

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
from labsupport.grading.audit.report import Alternative, ExerciseAudit, LabAudit, Result
from labsupport.grading.audit.workers import SEEDS, Job, judge_all

FAST = 60  # mutants in a fast audit, shared out evenly over the exercises


def audit_lab(
    source: Path,
    fast: bool = False,
    workers: int | None = None,
    limits: Limits | None = None,
    sandbox: bool = True,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> LabAudit:
    """Judge every mutant and every alternative of the lab in ``source``.

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
    right = _right_answers(lab)
    seeds = 1 if fast else len(SEEDS)
    jobs = [Job(exercise, code, seeds) for exercise, _, code in right]
    jobs += [Job(mutant.exercise, mutant.code) for mutant in chosen]
    outcomes = judge_all(source, jobs, workers or os.cpu_count() or 1, limits or Limits(), sandbox)
    outcomes = iter(progress(outcomes, len(jobs)))

    audits = {name: ExerciseAudit(name) for name in lab.exercises}
    for exercise, label, _ in right:
        answer = Alternative(exercise, label, next(outcomes))
        if label == "":
            _check_solution(lab, answer)
        else:
            audits[exercise].alternatives.append(answer)
    for mutant, outcome in zip(chosen, outcomes, strict=True):
        equivalent = declared.get(mutant.identity)
        result = Result(mutant, outcome, equivalent.reason if equivalent else "")
        audits[mutant.exercise].results.append(result)
    absent = [entry for entry in declared.values() if entry.identity not in known]
    seconds = time.monotonic() - begin
    return LabAudit(lab.stem, fast, list(audits.values()), absent, seconds, sandbox and sandboxed())


def _right_answers(lab: Lab) -> list[tuple[str, str, str]]:
    """(exercise, label, code) of the solution, without a label, and of every alternative."""
    answers = [
        (name, "", solution_code(lab.one("exercise", name).source)) for name in lab.exercises
    ]
    return answers + [(c.name, c.label, c.source) for c in lab.of("alternative")]


def _check_solution(lab: Lab, answer: Alternative) -> None:
    outcome = answer.outcome
    if outcome.passed < outcome.asked:
        raise ValueError(
            f"{lab.stem}: the judge of {answer.exercise} refuses the lab's own solution: "
            f"{outcome.later or outcome.message}"
        )


def _sample(mutants: list[Mutant], size: int) -> list[Mutant]:
    """A fixed choice: the same on every machine as long as the solution stays as it is."""
    return sorted(mutants, key=lambda mutant: mutant.digest)[:size]
