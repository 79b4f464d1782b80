"""Task of grading one submission that any process can do: plain text in, plain text out.

A worker needs no course directory and no gradebook, and shares no files with whoever asks it. What
takes seconds to import is imported by who grades, not by who hands out tasks and keeps the grades.
"""

import hashlib
import importlib.metadata
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nbformat.notebooknode import NotebookNode

import labsupport
from labsupport.course.build import dump, student_notebook
from labsupport.course.fingerprint import fingerprint_of
from labsupport.course.source import parsed_lab
from labsupport.errors import SandboxError
from labsupport.grading.workers.warmth import kernels_for, needs_of

if TYPE_CHECKING:
    from labsupport.grading.judging.judge import AnswerKey
    from labsupport.grading.running.sandbox.asking import Place

# Parts of the package on which no grade depends: a change to them has nothing graded again.
GRADES_NOTHING = (
    "cli/",
    "experiments/",
    "grading/audit/",
    "grading/collect/",
    "grading/demo.py",
    "grading/export/",
    "grading/ledger/",
    "grading/report/",
)


@dataclass(frozen=True)
class GradingTask:
    """Everything a grade depends on. Equal tasks have equal grades, wherever they are done."""

    stem: str
    lab: str  # the lab's source
    submitted: str  # the file as it was handed in, for ``read_submission``
    seed: str
    profile: str = "smoke"
    cell_seconds: float = 60
    sandbox: bool = True
    demonstrations: bool = False  # whether cells that only draw are run too

    @property
    def fingerprint(self) -> str:
        """A content hash, over the versions that a grade depends on too."""
        about = asdict(self) | {"lab": fingerprint_of(self.stem, self.lab)}  # prose grades nobody
        text = json.dumps([about, versions()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """What a grade depends on besides its task; the same in two places gives the same grades."""
    found = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "nbgrader")}
    package, content = Path(labsupport.__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if not name.startswith(GRADES_NOTHING):
            content.update(f"{name}\0".encode() + path.read_bytes())
    number = importlib.metadata.version("labsupport")  # stays the same while a checkout changes
    return {"labsupport": f"{number}+{content.hexdigest()[:12]}"} | found


def perform(task: GradingTask, place: "Place | None" = None) -> str:
    """Grade and return the graded notebook as JSON; its metadata hold the verdicts. ``place``: a
    warm process for the task's lab on this machine, if there is one.

    What goes wrong outside of the submission is tried once more: a kernel that did not start, or
    a sandbox that died, which takes the submission's kernel along and is no fault of its. Raises
    whatever went wrong the second time.
    """
    try:
        return _grade(task, place)
    except Exception:
        return _grade(task, place)


def took_too_long(graded: str) -> bool:
    """Whether something was stopped in a graded notebook, as ``perform`` returns it, because its
    time was up."""
    try:
        return bool(json.loads(graded)["metadata"]["labsupport_grading"]["stopped"])
    except (ValueError, KeyError, TypeError):
        return False


def _grade(task: GradingTask, place: "Place | None") -> str:
    import torch

    from labsupport.grading.running.limits import RunLimits
    from labsupport.grading.submission.reading import read_submission
    from labsupport.grading.submission.submission import grade_submission

    torch.set_num_threads(1)  # many small tensors: threads would cost more than they bring
    # it warms while we make the key
    kernels = kernels_for(needs_of(task.stem, task.lab, task.sandbox), place)
    key = answer_key(task.stem, task.lab)
    submitted, mended = read_submission(task.submitted)
    graded = grade_submission(
        key,
        submitted,
        mended=mended,
        seed=task.seed,
        profile=task.profile,
        limits=RunLimits(cell_seconds=task.cell_seconds),
        sandbox=kernels,
        demonstrations=task.demonstrations,
    )
    if kernels is not None and kernels.lost():
        raise SandboxError("the sandbox died while a submission was graded")
    graded.notebook.metadata["labsupport_grading"]["fingerprint"] = task.fingerprint
    # half a character, which JSON can spell and no file can hold, becomes a question mark
    return dump(graded.notebook).encode("utf-8", "replace").decode()


@lru_cache(maxsize=16)
def answer_key(stem: str, source: str) -> "AnswerKey":
    """The answer key of a lab's source, made once for a class."""
    from labsupport.grading.judging.judge import AnswerKey

    return AnswerKey(parsed_lab(stem, source))


@lru_cache(maxsize=16)
def released_notebook(stem: str, source: str) -> NotebookNode:
    """The student's notebook of a lab's source, made once for a class; not to be changed."""
    return student_notebook(parsed_lab(stem, source))
