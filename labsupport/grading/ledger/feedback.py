"""Feedback pages: nbgrader's, with exercises called by their names.

nbgrader's index lists "Test cell" as often as there are exercises.
"""

from html import escape
from typing import Any

from nbconvert.exporters import HTMLExporter
from nbformat.notebooknode import NotebookNode

NBGRADERS = {"judge": "Test cell", "answer": "Written response"}  # its words, by kind of cell


class FeedbackExporter(HTMLExporter):
    """What ``c.GenerateFeedback.exporter_class`` is set to in a course's configuration."""

    def from_notebook_node(
        self, nb: NotebookNode, resources: Any = None, **kwargs: Any
    ) -> Any:  # (page, resources): text, where the class above it says a notebook
        page, resources = super().from_notebook_node(nb, resources, **kwargs)
        for cell in nb.cells:
            about = cell.metadata.get("labsupport", {})
            kind, name = about.get("kind"), about.get("name")
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
            if kind in NBGRADERS and name and grade_id:
                start, end = f'<a href="#{grade_id}">', "</a>"
                called = escape(name if kind == "judge" else f"{name}, written")
                page = page.replace(f"{start}{NBGRADERS[kind]}{end}", f"{start}{called}{end}")
        return page, resources
