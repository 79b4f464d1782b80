"""The grading pipeline as a step of nbgrader's autograde.

In a course's ``nbgrader_config.py`` this takes the place of nbgrader's ``Execute``, so that
``nbgrader autograde``, formgrader's button and ``labs grade`` all run the same code.
"""

from functools import lru_cache
from pathlib import Path

import nbformat
import torch
from nbformat.notebooknode import NotebookNode
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import Execute
from traitlets import Bool, Unicode

from labsupport.course.source import find_labs, read_lab
from labsupport.grading.engine import RunLimits
from labsupport.grading.judge import AnswerKey
from labsupport.grading.sandbox.warm import WarmSandbox
from labsupport.grading.submission import grade_notebook


@lru_cache(maxsize=16)
def _key(path: Path, changed: float) -> AnswerKey:
    """An answer key, made once for a class; ``changed`` renews it when the lab is edited."""
    torch.set_num_threads(1)  # many small tensors: threads would cost more than they bring
    return AnswerKey(read_lab(path))


def answer_key(labs: Path, stem: str) -> AnswerKey:
    """The answer key of a course's lab. Raises FileNotFoundError naming the labs there are."""
    (path,) = find_labs(labs, [stem])
    return _key(path, path.stat().st_mtime)


_sandboxes: dict[tuple[str, ...], WarmSandbox] = {}


def sandbox_for(masks: tuple[str, ...]) -> WarmSandbox:
    """This process's warm sandbox with these files masked; a dead one is replaced."""
    known = _sandboxes.get(masks)
    if known is None or not known.alive():
        known = _sandboxes[masks] = WarmSandbox(list(masks))
    return known


class ExecuteAndJudge(Execute):
    """Execute a submission with papermill and judge it; traits are set like any of nbgrader's.

    ``timeout`` (seconds a cell), and ``enabled`` through ``--no-execute``, are Execute's own.
    """

    seed = Unicode("", help="The course's secret; inputs are drawn from it and the student's id."
                   ).tag(config=True)
    profile = Unicode("smoke", help="The profile submissions run in.").tag(config=True)
    sandbox = Bool(True, help="Run submissions in bubblewrap. False: with your own rights."
                   ).tag(config=True)
    labs = Unicode("labs", help="The folder of lab sources, relative to the course directory."
                   ).tag(config=True)

    def __call__(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        if not self.enabled:
            # nbgrader would go on and read the outputs that the student handed in as grades
            raise RuntimeError("--no-execute cannot grade: points come from running the notebook")
        return self.preprocess(nb, resources)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        about = resources["nbgrader"]
        course = CourseDirectory(config=self.config)
        key = answer_key(Path(course.root) / self.labs, about["notebook"])
        graded = grade_notebook(
            key,
            nb,
            self._submitted(course, about),
            seed=f"{self.seed}/{about['student']}",
            profile=self.profile,
            limits=RunLimits(cell_seconds=self.timeout),
            sandbox=sandbox_for(key.lab.masks) if self.sandbox else None,
        )
        return graded.notebook, resources

    def _submitted(self, course: CourseDirectory, about: dict) -> NotebookNode:
        folder = course.format_path(
            course.submitted_directory, about["student"], about["assignment"]
        )
        return nbformat.read(Path(folder) / f"{about['notebook']}.ipynb", as_version=4)
