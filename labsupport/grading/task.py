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

import labsupport
from labsupport.course.build import dump
from labsupport.course.source import read_lab
from labsupport.grading.engine import RunLimits
from labsupport.grading.judge import AnswerKey
from labsupport.grading.sandbox.visible import SandboxError
from labsupport.grading.sandbox.warm import WarmSandbox
from labsupport.grading.scratch import scratch
from labsupport.grading.submission import grade_notebook

# Parts of the package on which no grade depends: a change to them has nothing graded again.
GRADES_NOTHING = (
    "cli.py", "environment.py", "experiments", "grading/audit", "grading/collect", "grading/demo",
    "grading/report", "grading/gradebook",
)


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
        text = json.dumps([asdict(self), versions()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """What a grade depends on besides its task; the same in two places gives the same grades."""
    found = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "nbgrader")}
    package, content = Path(labsupport.__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = str(path.relative_to(package))
        if not name.startswith(GRADES_NOTHING):
            content.update(f"{name}\0".encode() + path.read_bytes())
    number = importlib.metadata.version("labsupport")  # stays the same while a checkout changes
    return {"labsupport": f"{number}+{content.hexdigest()[:12]}"} | found


def perform(task: GradingTask) -> str:
    """Grade and return the graded notebook as JSON; its metadata hold the verdicts.

    What goes wrong outside of the submission is tried once more: a kernel that did not start, or
    a sandbox that died, which takes the submission's kernel along and is no fault of its. Raises
    whatever went wrong the second time.
    """
    try:
        return _grade(task)
    except Exception:
        return _grade(task)


def _grade(task: GradingTask) -> str:
    torch.set_num_threads(1)  # many small tensors: threads would cost more than they bring
    key = answer_key(task.stem, task.lab)
    sandbox = _sandbox(key.lab.masks) if task.sandbox else None
    graded = grade_notebook(
        key,
        nbformat.reads(task.notebook, as_version=4),
        nbformat.reads(task.submitted, as_version=4),
        seed=task.seed,
        profile=task.profile,
        limits=RunLimits(cell_seconds=task.cell_seconds),
        sandbox=sandbox,
    )
    if sandbox is not None and sandbox.lost():
        raise SandboxError("the sandbox died while a submission was graded")
    return dump(graded.notebook)


@lru_cache(maxsize=16)
def answer_key(stem: str, source: str) -> AnswerKey:
    """The answer key of a lab's source, made once for a class."""
    with tempfile.TemporaryDirectory(prefix="key-", dir=scratch()) as folder:
        path = Path(folder) / f"{stem}.py"
        path.write_text(source, encoding="utf-8")
        return AnswerKey(read_lab(path))


_sandboxes: dict[tuple[str, ...], WarmSandbox] = {}


def _sandbox(masks: tuple[str, ...]) -> WarmSandbox:
    """This process's warm sandbox with these files masked; a dead one is replaced."""
    known = _sandboxes.get(masks)
    if known is not None and known.lost():
        known.close()
        known = None
    if known is None:
        known = _sandboxes[masks] = WarmSandbox(list(masks))
    return known
