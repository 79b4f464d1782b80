"""Rubric of a written answer, before the eyes of whoever grades it by hand in formgrader.

It stands in a cell after the answer, in the autograded notebook only: put there when a grade is
recorded, left out of feedback pages. What students get is never made with it.
"""

from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_markdown_cell
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode

from labsupport.course.lab import BEGIN, END, LabCell
from labsupport.course.source import find_labs, parsed_lab

KIND = "rubric"
HEAD = "**Model answer and rubric of `{}`**, for whoever grades it; students do not see this."


class ShowRubric(NbGraderPreprocessor):
    """The last step of autograding: after each written answer, what it should be."""

    labs = Unicode("labs", help="The folder of lab sources, relative to the course directory.").tag(
        config=True
    )

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        from labsupport.grading.ledger.feedback import FeedbackExporter

        if not issubclass(GenerateFeedback(config=self.config).exporter_class, FeedbackExporter):
            self.log.warning("No rubric is put in: this course's feedback pages would show it")
            return nb, resources
        folder = Path(CourseDirectory(config=self.config).root) / self.labs
        (path,) = find_labs(folder, [resources["nbgrader"]["notebook"]])
        lab = parsed_lab(path.stem, path.read_text(encoding="utf-8"))
        return with_rubrics(nb, {cell.name: cell for cell in lab.of("question")}), resources


def with_rubrics(nb: NotebookNode, questions: dict[str, LabCell]) -> NotebookNode:
    """A graded notebook with a cell after each answer that says what it should be."""
    shown = nbformat.from_dict({**without_rubrics(nb), "cells": []})
    for cell in without_rubrics(nb).cells:
        shown.cells.append(cell)
        about = cell.metadata.get("labsupport", {})
        if about.get("kind") == "answer" and about.get("name") in questions:
            shown.cells.append(_rubric(questions[about["name"]]))
    return shown


def without_rubrics(nb: NotebookNode) -> NotebookNode:
    """A notebook as it may be shown to its student."""
    cells = [c for c in nb.cells if c.metadata.get("labsupport", {}).get("kind") != KIND]
    return nbformat.from_dict({**nb, "cells": cells})


def _rubric(question: LabCell) -> NotebookNode:
    wanted = question.source.split(BEGIN, 1)[1].split(END, 1)[0].strip()
    return new_markdown_cell(
        f"{HEAD.format(question.name)}\n\n{wanted}",
        id=f"rubric-{question.name}"[:64],
        metadata={
            "labsupport": {"kind": KIND, "name": question.name},
            "editable": False,
            "deletable": False,
        },
    )
