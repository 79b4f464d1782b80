"""Questions to a notebook while it is executed, and what the answers that came back are worth."""

import nbformat
from nbformat.notebooknode import NotebookNode

from labsupport.answers.respond import MIME
from labsupport.course.lab import LabCell
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.judging.verdicts import Cause, Challenge, Finding, Status, Verdict
from labsupport.grading.running.limits import Death
from labsupport.grading.running.run import Execution
from labsupport.grading.submission.causes import Causes

# Kinds of cells that are not run when grading: they take long or need a person.
SKIPPED = ("experiment", "widget")
ASK = "from labsupport.answers.respond import respond as _respond\n_respond({!r})"


def with_questions(
    notebook: NotebookNode,
    roles: list[LabCell | None],
    challenges: dict[str, list[Challenge]],
    skipped: set[int],
) -> tuple[NotebookNode, list[int]]:
    """The notebook to execute, and which cell of ``notebook`` each of its cells stands for.

    A graded cell becomes one cell for each of its challenges, so that a kernel that dies in one
    part of an exercise is replaced before the next; ``skipped`` cells are empty. No output that
    was handed in goes in, a forged response least of all.
    """
    asked = nbformat.from_dict({**notebook, "cells": []})
    origins: list[int] = []
    for index, (cell, role) in enumerate(zip(notebook.cells, roles, strict=True)):
        texts: list[str | None] = [None]
        if role is not None and role.kind == "judge" and cell.cell_type == "code":
            texts = [c.text for c in challenges[role.name]]
        for number, text in enumerate(texts):
            copy = nbformat.from_dict(cell)
            if text is not None:
                copy.source = ASK.format(text)
            elif index in skipped:
                copy.source = ""
            if copy.cell_type == "code":
                copy.outputs = []
            if number:
                copy.id = f"labs-part-{index}-{number}"
            asked.cells.append(copy)
            origins.append(index)
    return asked, origins


def verdict_of(
    key: AnswerKey,
    run: Execution,
    name: str,
    challenges: list[Challenge],
    graded: list[list[int]],
    causes: Causes | None = None,
) -> Verdict:
    """``graded`` are the cells that asked this exercise's challenges, by cell that is graded;
    ``causes`` what had gone wrong before."""
    findings: list[Finding] = []
    if len(graded) != 1:
        what = "is missing from" if not graded else "stands more than once in"
        for challenge in challenges:
            message = f"the graded cell {what} the notebook"
            findings += key.all_cases(challenge, "missing", "no response", message)
        return key.score(name, findings)
    for challenge, place in zip(challenges, graded[0], strict=True):
        found = _findings(key, run, challenge, place)
        findings += [causes.explained(name, one) if causes else one for one in found]
    return key.score(name, findings)


def _findings(key: AnswerKey, run: Execution, challenge: Challenge, place: int) -> list[Finding]:
    shown = [
        o.get("data")
        for o in run.notebook.cells[place].get("outputs", [])
        if o.get("output_type") == "display_data"
    ]
    bundles = [data[MIME] for data in shown if isinstance(data, dict) and MIME in data]
    if len(bundles) > 1:
        several = "the graded cell gave several responses"
        return key.all_cases(challenge, "tampered", "forged", several)
    if bundles:
        return key.findings(challenge, bundles[0] if isinstance(bundles[0], dict) else {})
    if place in run.timeouts:
        return key.all_cases(challenge, "timeout", "time", "took too long and was stopped")
    if place in run.deaths:
        death = run.deaths[place]
        status, cause = _of_death(death)
        return key.all_cases(challenge, status, cause, f"while this exercise ran, {death.reason}")
    if place >= run.reached:
        message = f"{len(run.deaths)} kernels died in the cells before it"
        return key.all_cases(challenge, "not reached", "not reached", message)
    return key.findings(challenge, None)


def _of_death(death: Death) -> tuple[Status, Cause]:
    """What a kernel's death means for the exercise that was being asked."""
    if death.kind == "memory":
        return "out of memory", "memory"
    return "crashed", "time" if death.kind == "time" else "died"
