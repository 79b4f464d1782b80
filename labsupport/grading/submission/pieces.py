"""Cells of a submission, each reduced to what can be trusted to be of its type."""

from typing import Any

from nbformat.notebooknode import NotebookNode

from labsupport.grading.submission.cell_code import defined_names
from labsupport.grading.submission.mending import WAS
from labsupport.grading.submission.pictures import Pictured, with_pictures
from labsupport.grading.submission.sanitise import writable


class Piece:
    """A submitted cell. ``of`` is the lab's cell that it is, or is a part of; ``after`` the piece
    that it follows where that is not the one before it."""

    def __init__(self, cell: Any):
        metadata = cell.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        about = metadata.get("nbgrader")
        self.type = cell.get("cell_type")
        self.source = writable("".join(cell.get("source") or ""))
        self.key = key_of(self.source)
        self.names = [str(about.get("grade_id"))] if isinstance(about, dict) else []
        self.names += [str(name) for name in (metadata.get(WAS), cell.get("id", "")) if name]
        self.outputs = cell.get("outputs") if self.type == "code" else []
        self.of: str | None = None
        self.after: Piece | None = None
        self.shown = (
            Pictured(self.source)
            if self.type == "code"
            else with_pictures(self.source, cell.get("attachments"))
        )

    @property
    def defines(self) -> set[str]:
        """The functions and classes that it defines at its top level."""
        return defined_names(self.source) if self.type == "code" else set()


def key_of(source: str) -> str:
    """A cell's text, whatever its white space."""
    return " ".join(source.split())


def kind_of(cell: NotebookNode) -> str:
    """The kind of a cell of the lab."""
    return cell.metadata.get("labsupport", {}).get("kind", "prose")
