"""Damaged notebooks: put a submission's cells back in the places that the released lab gives them.

Students delete, copy, split, merge and move cells, and editors drop metadata. What a cell of the
lab is, is found by its id, then by its content; everything that makes a cell graded is taken
from the lab and never from the submission. What a student wrote is kept.
"""

import itertools
import re
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from labsupport.course.build import is_graded_line
from labsupport.grading.submission.cell_code import compiles, defined_names
from labsupport.grading.submission.mending import WAS
from labsupport.grading.submission.sanitise import clean_attachments, writable

STUDENTS = ("exercise", "answer", "parameters")  # kinds of cells whose content is the student's
TEXT = ("prose", "question")  # not graded and not run: as the student left them
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
MAX_CELLS = 2000


def realign(submitted: NotebookNode, master: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """The submission in the form of ``master``, a lab as it was released, and what was repaired.

    The result has every cell of the lab exactly once and in the lab's order, with the lab's
    metadata; the student's own cells follow the cell that they followed. Cells that the
    submission lacks come back as they were released.
    """
    pieces = [_Piece(cell) for cell in submitted.cells[:MAX_CELLS]]
    found = _match(pieces, master)
    repairs = _order(pieces, master)
    if len(submitted.cells) > MAX_CELLS:
        repairs.append(f"only the first {MAX_CELLS} of {len(submitted.cells)} cells are graded")
    elsewhere = {n for p in pieces if p.type == "code" for n in defined_names(p.source)}
    own = _own_cells(pieces)
    cells = own.pop(None, [])
    for released in master.cells:
        mine = found.get(released.id, [])
        cells += _placed(released, mine, elsewhere, repairs)
        for piece in mine:
            cells += own.pop(id(piece), [])
    result = nbformat.from_dict({**master, "cells": cells})
    _unique_ids(result, {c.id for c in master.cells})
    return result, repairs


class _Piece:
    """A submitted cell, reduced to what can be trusted to be of its type."""

    def __init__(self, cell: Any):
        metadata = cell.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        about = metadata.get("nbgrader")
        self.cell = cell
        self.type = cell.get("cell_type")
        self.source = writable("".join(cell.get("source") or ""))
        self.key = _key(self.source)
        self.names = [str(about.get("grade_id"))] if isinstance(about, dict) else []
        self.names += [str(name) for name in (metadata.get(WAS), cell.get("id", "")) if name]
        self.outputs = cell.get("outputs") if self.type == "code" else []
        self.of: str | None = None  # the lab's cell that it is, or is a part of


def _match(pieces: list[_Piece], master: NotebookNode) -> dict[str, list[_Piece]]:
    """The submitted cells of each of the lab's: by id, by content, by what they define."""
    kinds = {cell.id: _kind(cell) for cell in master.cells}
    found: dict[str, list[_Piece]] = {}

    def take(piece: _Piece, name: str) -> None:
        piece.of = name
        found.setdefault(name, []).append(piece)

    for piece in pieces:
        name = next((n for n in piece.names if n in kinds), None)
        if name is not None:
            take(piece, name)
    lacking = [cell for cell in master.cells if cell.id not in found]
    for cell in lacking:
        key = _key(cell.source)
        same = next((p for p in pieces if p.of is None and p.key == key), None)
        if same is not None and key:
            take(same, cell.id)
    for cell in [c for c in lacking if c.id not in found and kinds[c.id] == "exercise"]:
        wanted = defined_names(cell.source)
        for piece in pieces:
            if piece.of is None and piece.type == "code" and wanted & defined_names(piece.source):
                take(piece, cell.id)
    for before, cell in zip(master.cells, master.cells[1:]):
        if kinds[cell.id] == "answer" and cell.id not in found and before.id in found:
            place = pieces.index(found[before.id][-1]) + 1
            if place < len(pieces) and pieces[place].of is None and pieces[place].type != "code":
                take(pieces[place], cell.id)
    return found


def _placed(released: NotebookNode, mine: list[_Piece], elsewhere: set[str], repairs: list[str]):
    """A cell of the lab as it will be graded, and own cells that come with it."""
    kind, name = _kind(released), released.id
    cell = nbformat.from_dict(released)
    if not mine:
        if kind in TEXT:
            return []
        if kind == "exercise" and defined_names(released.source) & elsewhere:
            cell.source = "# This exercise's cell was missing; its names are defined in another."
        repairs.append(f"{name} was missing and has been put back")
        return [cell]
    if kind in TEXT:
        cell.source, _ = _joined(mine, released.cell_type)
        return [cell]
    if name not in mine[0].names:
        repairs.append(f"{name} had lost its id and was found by its content")
    if any(piece.type != released.cell_type for piece in mine):
        repairs.append(f"{name} had become another kind of cell")
    if len(mine) > 1:
        joined = "joined" if kind in STUDENTS else "reduced to one"
        repairs.append(f"{name} was there in {len(mine)} cells, which were {joined}")
    if kind in STUDENTS:
        cell.source, broken = _joined(mine, released.cell_type)
        pictures = [clean_attachments(p.cell) for p in mine]
        if any(pictures) and released.cell_type == "markdown":
            cell.attachments = {k: v for one in pictures for k, v in one.items()}
        return [cell, *(new_code_cell(source, id="own") for source in broken)]
    cell.outputs = mine[0].outputs or []
    added = _added_lines(mine[0].source, released.source) if kind == "given" else ""
    earlier = kind == "judge" and is_graded_line(mine[0].source.strip())  # with other points
    if mine[0].key != _key(released.source) and not earlier:
        repairs.append(
            f"{name} was edited: the lab's own text has been put back"
            + (", the added lines after it" if added else "")
        )
    return [cell, new_code_cell(added, id="own")] if added else [cell]


def _added_lines(source: str, released: str) -> str:
    """What a student added to given code, an import say; nothing where lines were changed."""
    ours = {line.strip() for line in released.splitlines()}
    lines = source.splitlines()
    if not ours <= {line.strip() for line in lines} | {""}:
        return ""
    added = "\n".join(line for line in lines if line.strip() not in ours)
    return added if added.strip() and compiles(added) else ""


def _joined(mine: list[_Piece], cell_type: str) -> tuple[str, list[str]]:
    """The pieces of a student's cell as one source, in order, and code that is in no state to be
    joined and goes into cells of its own."""
    sources = [piece.source for piece in mine]
    unlike = list(dict.fromkeys(sources))  # a copy of a cell is no second cell
    if cell_type == "markdown" or len(unlike) == 1:
        return "\n\n".join(unlike), []
    if compiles("\n".join(sources)):
        return "\n".join(sources), []
    whole = [source for source in unlike if compiles(source)]
    return "\n\n".join(whole), [source for source in unlike if source not in whole]


def _own_cells(pieces: list[_Piece]) -> dict[int | None, list[NotebookNode]]:
    """The student's own cells by the lab's cell before them (None: at the top)."""
    own: dict[int | None, list[NotebookNode]] = {}
    before = None
    for piece in pieces:
        if piece.of is not None:
            before = id(piece)
            continue
        make = new_code_cell if piece.type == "code" else new_markdown_cell
        name = piece.names[-1] if piece.names else ""
        cell = make(piece.source, id=name if _ID.match(name) else "own")
        if piece.type == "code":
            cell.outputs = piece.outputs or []
        own.setdefault(before, []).append(cell)
    return own


def _order(pieces: list[_Piece], master: NotebookNode) -> list[str]:
    place = {cell.id: index for index, cell in enumerate(master.cells)}
    places = [place[p.of] for p in pieces if p.of is not None]
    return [] if places == sorted(places) else ["cells were put back into the lab's order"]


def _unique_ids(notebook: NotebookNode, taken: set[str]) -> None:
    """Give own cells an id that no other cell has. The same submission gets the same ids."""
    seen = set(taken)
    for cell in notebook.cells:
        if cell.id in taken and cell.metadata:
            continue  # a cell of the lab
        if cell.id in seen:
            cell.id = next(n for k in itertools.count(1) if (n := f"own-{k}") not in seen)
        seen.add(cell.id)


def _kind(cell: NotebookNode) -> str:
    return cell.metadata.get("labsupport", {}).get("kind", "prose")


def _key(source: str) -> str:
    return " ".join(source.split())
