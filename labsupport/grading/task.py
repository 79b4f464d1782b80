"""One submission as a task that any process can do: plain text in, plain text out.

A worker needs no course directory and no gradebook, and shares no files with whoever asks it.
"""

import hashlib
import importlib.metadata
import json
import tempfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import nbformat
import torch

from labsupport.course.build import dump
from labsupport.course.source import read_lab
from labsupport.grading.engine import RunLimits
from labsupport.grading.judge import AnswerKey
from labsupport.grading.lab_code import fingerprint_of
from labsupport.grading.sandbox.warm import WarmSandbox
from labsupport.grading.submission import grade_notebook


@dataclass(frozen=True)
class GradingTask:
    """Everything a grade depends on. Equal tasks have equal grades, wherever they are done."""

    stem: str
    lab: str  # the lab's source
    notebook: str  # the sanitised submission, as JSON
    submitted: str  # as it was handed in
    seed: str
    profile: str = "smoke"
    cell_seconds: float = 60
    sandbox: bool = True

    @property
    def fingerprint(self) -> str:
        """A content hash, over the versions that a grade depends on too."""
        versions = [importlib.metadata.version(n) for n in ("labsupport", "torch", "nbgrader")]
        about = asdict(self) | {"lab": fingerprint_of(self.stem, self.lab)}  # prose grades nobody
        text = json.dumps([about, versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def perform(task: GradingTask) -> str:
    """Grade and return the graded notebook as JSON; its metadata hold the verdicts."""
    torch.set_num_threads(1)  # many small tensors: threads would cost more than they bring
    key = answer_key(task.stem, task.lab)
    graded = grade_notebook(
        key,
        nbformat.reads(task.notebook, as_version=4),
        nbformat.reads(task.submitted, as_version=4),
        seed=task.seed,
        profile=task.profile,
        limits=RunLimits(cell_seconds=task.cell_seconds),
        sandbox=_sandbox(key.lab.masks) if task.sandbox else None,
    )
    return dump(graded.notebook)


@lru_cache(maxsize=16)
def answer_key(stem: str, source: str) -> AnswerKey:
    """The answer key of a lab's source, made once for a class."""
    with tempfile.TemporaryDirectory(prefix="labs-key-") as folder:
        path = Path(folder) / f"{stem}.py"
        path.write_text(source, encoding="utf-8")
        return AnswerKey(read_lab(path))


_sandboxes: dict[tuple[str, ...], WarmSandbox] = {}


def _sandbox(masks: tuple[str, ...]) -> WarmSandbox:
    """This process's warm sandbox with these files masked; a dead one is replaced."""
    known = _sandboxes.get(masks)
    if known is None or not known.alive():
        known = _sandboxes[masks] = WarmSandbox(list(masks))
    return known
