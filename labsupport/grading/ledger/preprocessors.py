"""Pipeline of grading as a step of nbgrader's autograde.

In a course's ``nbgrader_config.py`` this takes the place of nbgrader's ``Execute``, so that
``nbgrader autograde``, formgrader's button and ``labs grade`` all run the same code.
"""

from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from traitlets import Bool, Unicode

from labsupport.course.source import find_labs, parsed_lab
from labsupport.grading.ledger.penalties import forget_worked_out
from labsupport.grading.ledger.released_points import check_released
from labsupport.grading.ledger.store import ResultStore
from labsupport.grading.ledger.troubles import keep_trouble
from labsupport.grading.submission.points import with_points
from labsupport.grading.submission.reading import as_text
from labsupport.grading.submission.realign import realign
from labsupport.grading.workers.task import GradingTask, perform, released_notebook


class Realign(NbGraderPreprocessor):
    """The first step of sanitising: a damaged notebook gets the form of the released lab."""

    labs = Unicode("labs", help="The folder of lab sources, relative to the course directory.").tag(
        config=True
    )

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        course = CourseDirectory(config=self.config)
        (lab,) = find_labs(Path(course.root) / self.labs, [resources["nbgrader"]["notebook"]])
        aligned, repairs = realign(nb, released_notebook(lab.stem, lab.read_text("utf-8")))
        for repair in repairs:
            self.log.warning("Repaired: %s", repair)
        return aligned, resources


class ExecuteAndJudge(Execute):
    """Execute a submission with papermill and judge it; traits are set like any of nbgrader's.

    ``timeout`` (seconds a cell), and ``enabled`` through ``--no-execute``, are Execute's own.
    """

    seed = Unicode(
        "", help="The course's secret; inputs are drawn from it and the student's id."
    ).tag(config=True)
    profile = Unicode("smoke", help="The profile submissions run in.").tag(config=True)
    sandbox = Bool(True, help="Run submissions in bubblewrap. False: with your own rights.").tag(
        config=True
    )
    demonstrations = Bool(
        False,
        help="Also run given cells that only draw, on which no grade "
        "depends; otherwise the student's own pictures are kept.",
    ).tag(config=True)
    labs = Unicode("labs", help="The folder of lab sources, relative to the course directory.").tag(
        config=True
    )

    def __call__(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        if not self.enabled:
            # nbgrader would go on and read the outputs that the student handed in as grades
            raise RuntimeError("--no-execute cannot grade: points come from running the notebook")
        return self.preprocess(nb, resources)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Grade, or take the result that ``labs grade`` has put by for this very task."""
        about = resources["nbgrader"]
        task, root = self.task(about), Path(CourseDirectory(config=self.config).root)
        with Gradebook(about["db_url"]) as gradebook:
            check_released(gradebook, parsed_lab(task.stem, task.lab))
        store = ResultStore(root)
        result = store.get(task.fingerprint)
        if result is None:
            result = perform(task)
            store.put(task.fingerprint, result)
        else:
            self.log.warning(
                "This very notebook has been run before, and that result is taken; 'labs grade "
                "%s %s --student %s --again' runs it again",
                *(root, about["assignment"], about["student"]),
            )
        pair = about["assignment"], about["student"]
        forget_worked_out(root, pair)
        keep_trouble(root, pair, None)
        graded = nbformat.reads(result, as_version=4)
        return with_points(graded, task.stem, task.lab), resources

    def task(self, about: dict) -> GradingTask:
        """The grading task of a submission; ``about`` is ``resources["nbgrader"]``.

        It starts from the notebook as it was handed in, which is brought into the lab's form again
        where it is graded: a worker needs no gradebook, and what is graded is the same whether or
        not nbgrader has sanitised before.
        """
        course = CourseDirectory(config=self.config)
        stem, student = about["notebook"], about["student"]
        (lab,) = find_labs(Path(course.root) / self.labs, [stem])
        folder = course.format_path(course.submitted_directory, student, about["assignment"])
        return GradingTask(
            stem=stem,
            lab=lab.read_text(encoding="utf-8"),
            submitted=as_text((Path(folder) / f"{stem}.ipynb").read_bytes()),
            seed=f"{self.seed}/{student}",
            profile=self.profile,
            cell_seconds=self.timeout,
            sandbox=self.sandbox,
            demonstrations=self.demonstrations,
        )
