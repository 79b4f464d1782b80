"""Grading of one submitted notebook: ask, execute, judge, and write the verdicts where a person
and nbgrader look for them. No gradebook here either: notebook in, graded notebook out.
"""

import hashlib
import html
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import nbformat
import torch
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_markdown_cell

from labsupport.course.build import student_notebook
from labsupport.course.fingerprint import fingerprint
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.judging.verdicts import Verdict
from labsupport.grading.running.limits import RunLimits
from labsupport.grading.running.run import execute
from labsupport.grading.running.sandbox.asking import KernelSource
from labsupport.grading.submission.causes import Causes
from labsupport.grading.submission.passive import passive_cells
from labsupport.grading.submission.questions import SKIPPED, verdict_of, with_questions
from labsupport.grading.submission.realign import realign
from labsupport.grading.submission.sanitise import MAX_TEXT, Patience, clean_markdown, clean_outputs
from labsupport.grading.submission.verdict_cells import verdict_outputs

VERSIONS = ("labsupport", "numpy", "einops", "nbgrader", "papermill", "ipykernel")
OWN_OUTPUT = "Output as the student handed it in; this cell is not run when grading.\n"


@dataclass
class Graded:
    """A graded notebook with its verdicts, in the order of the lab, and their provenance."""

    notebook: NotebookNode
    verdicts: list[Verdict]
    provenance: dict = field(default_factory=dict)


def grade_submission(
    key: AnswerKey,
    submitted: NotebookNode,
    *,
    seed: str,
    mended: Sequence[str] = (),
    profile: str = "smoke",
    limits: RunLimits | None = None,
    sandbox: KernelSource | None = None,
    demonstrations: bool = False,
) -> Graded:
    """Grade a notebook as it was handed in, in whatever state.

    It is first brought into the form of the released lab. ``seed`` decides the inputs, so it is
    secret and differs by student; ``mended`` is what reading its file has repaired. Given cells
    that only draw are run where ``demonstrations`` are asked for; otherwise, and for what takes
    long, the submission's own outputs are kept. Kernels come from ``sandbox``, as
    ``running.run.execute`` has it. The graded notebook carries no live script.
    """
    handed_in, repairs = realign(submitted, _released(key))
    repairs = [*mended, *repairs]
    kinds = {cell.id: cell for cell in key.lab.cells}
    roles = [kinds.get(_id(cell)) for cell in handed_in.cells]
    skipped = _skipped(handed_in, roles, demonstrations)
    challenges = {name: key.challenges(name, seed) for name in key.lab.exercises}
    asked, origins = with_questions(handed_in, roles, challenges, skipped)
    run = execute(asked, {"PROFILE": profile, "SEED": 0}, limits, sandbox)
    causes = Causes(run, origins, [c.source for c in handed_in.cells], roles)
    verdicts = {
        name: verdict_of(
            key,
            run,
            name,
            parts,
            [
                [i for i, origin in enumerate(origins) if origin == place]
                for place, role in enumerate(roles)
                if role and role.kind == "judge" and role.name == name
            ],
            causes,
        )
        for name, parts in challenges.items()
    }
    outputs = {o: c.get("outputs", []) for o, c in zip(origins, run.notebook.cells, strict=True)}
    graded = _with_verdicts(handed_in, outputs, roles, verdicts, skipped, repairs)
    deaths = {str(origins[place]): death.reason for place, death in run.deaths.items()}
    provenance = {"seconds": round(run.seconds, 2), "deaths": deaths} | _provenance(
        key, seed, profile, limits or RunLimits(), sandbox
    )
    graded.metadata["labsupport_grading"] = {
        "verdicts": [v.as_dict() for v in verdicts.values()],
        "provenance": provenance,
        "repairs": repairs,
        "stopped": sorted({origins[place] for place in run.stopped}),
    }
    if repairs:
        graded.cells.insert(0, _repair_note(repairs))
    return Graded(graded, list(verdicts.values()), provenance)


@lru_cache(maxsize=16)
def _released(key: AnswerKey) -> NotebookNode:
    return student_notebook(key.lab)


def _skipped(notebook, roles, demonstrations: bool) -> set[int]:
    """The places of the cells whose own outputs are kept."""
    places = {i for i, role in enumerate(roles) if role is not None and role.kind in SKIPPED}
    if demonstrations:
        return places
    sources = [cell.source for cell in notebook.cells]
    return places | passive_cells(sources, roles, SKIPPED)


def _id(cell: NotebookNode) -> str:
    # nbgrader's id: it has been held against the gradebook, the notebook's own id has not
    about = cell.metadata.get("nbgrader")
    name = about.get("grade_id") if isinstance(about, dict) else None
    return str(name or cell.get("id", ""))


def _with_verdicts(notebook, outputs, roles, verdicts, skipped, repairs: list[str]) -> NotebookNode:
    """The submission as a person reads it: its own cells with their ``outputs``, and a verdict in
    each graded cell, whose result is the number of points (how nbgrader reads a grade)."""
    graded = nbformat.from_dict(notebook)
    patience = Patience()
    for index, (cell, role) in enumerate(zip(graded.cells, roles, strict=True)):
        if cell.cell_type != "code":
            if len(cell.source) > MAX_TEXT:
                repairs.append(f"{cell.id} was cut: {len(cell.source):,} characters are too many")
            cell.source = clean_markdown(cell.source)
            continue
        if role is not None and role.kind == "judge":
            cell.outputs = verdict_outputs(verdicts[role.name].as_dict())
        elif index in skipped:
            cell.outputs = clean_outputs(cell.get("outputs", []), patience)
            if cell.outputs:
                cell.outputs.insert(0, _stream(OWN_OUTPUT))
        else:
            cell.outputs = clean_outputs(outputs[index], patience)
        cell.execution_count = None
    return graded


def _repair_note(repairs: list[str]) -> NotebookNode:
    lines = "\n".join(f"- {html.escape(repair)}" for repair in repairs)
    return new_markdown_cell(f"**Repaired before grading**\n\n{lines}", id="labs-repairs")


def _stream(text: str) -> NotebookNode:
    return nbformat.from_dict({"output_type": "stream", "name": "stdout", "text": text})


def _provenance(
    key: AnswerKey, seed: str, profile: str, limits: RunLimits, sandbox: KernelSource | None
) -> dict:
    """What this grade was made of, the same on every machine. The seed is a secret: its hash
    tells two seeds apart and gives none away."""
    return {
        "lab": fingerprint(key.lab),
        "seed": hashlib.sha256(f"labs-seed/{seed}".encode()).hexdigest()[:16],
        "profile": profile,
        "sandbox": sandbox is not None and sandbox.walled,
        "cell_seconds": limits.cell_seconds,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: importlib.metadata.version(name) for name in VERSIONS},
    }
