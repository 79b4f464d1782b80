"""Reading of submitted files inside nbgrader: nbconvert's exporter, with our reading before it."""

from typing import Any

from nbconvert.exporters import NotebookExporter

from labsupport.grading.submission.reading import read_submission


class SubmittedExporter(NotebookExporter):
    """nbgrader's own way from a file to a notebook, but for how the file is read.

    nbformat refuses what editors leave out, and what is not in UTF-8; ``read_submission`` mends it.
    """

    def from_file(self, file_stream: Any, resources: Any = None, **kwargs: Any) -> Any:
        data = getattr(file_stream, "buffer", file_stream).read()  # the bytes, in any encoding
        notebook, repairs = read_submission(data)
        for repair in repairs:
            self.log.warning("Repaired: %s", repair)
        return self.from_notebook_node(notebook, resources=resources, **kwargs)
