"""Damaged notebooks: put a submission's cells back in the places that the released lab gives them.

Students delete, copy, split, merge and move cells, and editors drop metadata. What a cell of the
lab is, is found by its id, then by its content; everything that makes a cell graded is taken
from the lab and never from the submission. What a student wrote is kept.
"""

import itertools
import re

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from labsupport.course.build import is_graded_line
from labsupport.course.first_cells import is_first_cell
from labsupport.grading.submission.cell_code import compiles, defined_names
from labsupport.grading.submission.given_cells import Edit, edit_of
from labsupport.grading.submission.late_answers import (
    LOOK,
    TAKEN,
    Beside,
    untouched,
    untouched_left_out,
)
from labsupport.grading.submission.pieces import Piece, key_of, kind_of
from labsupport.grading.submission.timing_magics import without_timing

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
    pieces = [Piece(cell) for cell in submitted.cells[:MAX_CELLS]]
    pieces = [piece for piece in pieces if not is_first_cell(piece.source)]  # no part of the lab
    found = _match(pieces, master)
    repairs = _order(pieces, master)
    beside = Beside(pieces, found, master)
    if len(submitted.cells) > MAX_CELLS:
        repairs.append(f"only the first {MAX_CELLS} of {len(submitted.cells)} cells are graded")
    elsewhere = {n for p in pieces if p.type == "code" for n in defined_names(p.source)}
    own = _own_cells(pieces)
    cells = own.pop(None, [])
    for released in master.cells:
        mine = found.get(released.id, [])
        cells += _placed(released, mine, elsewhere, beside, repairs)
        for piece in mine:
            cells += own.pop(id(piece), [])
    repairs += beside.notes
    repairs += [f"{p.of or 'a cell of your own'}: {note}" for p in pieces for note in p.shown.notes]
    result = nbformat.from_dict({**master, "cells": cells})
    _unique_ids(result, {c.id for c in master.cells})
    return result, repairs


def _match(pieces: list[Piece], master: NotebookNode) -> dict[str, list[Piece]]:
    """The submitted cells of each of the lab's: by id, by content, by what they define."""
    kinds = {cell.id: kind_of(cell) for cell in master.cells}
    found: dict[str, list[Piece]] = {}

    def take(piece: Piece, name: str) -> None:
        piece.of = name
        found.setdefault(name, []).append(piece)

    for piece in pieces:
        name = next((n for n in piece.names if n in kinds), None)
        if name is not None:
            take(piece, name)
    lacking = [cell for cell in master.cells if cell.id not in found]
    for cell in lacking:
        key = key_of(cell.source)
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


def _placed(
    released: NotebookNode,
    mine: list[Piece],
    elsewhere: set[str],
    beside: Beside,
    repairs: list[str],
) -> list[NotebookNode]:
    """A cell of the lab as it will be graded, and own cells that come with it."""
    kind, name = kind_of(released), released.id
    cell = nbformat.from_dict(released)
    if not mine:
        if kind in TEXT:
            return []
        if kind == "exercise" and defined_names(released.source) & elsewhere:
            cell.source = "# This exercise's cell was missing; its names are defined in another."
        repairs.append(f"{name} was missing and has been put back")
        return [cell]
    if kind in TEXT:
        _fill(cell, mine)
        return [cell]
    if name not in mine[0].names:
        repairs.append(f"{name} had lost its id and was found by its content")
    if any(piece.type != released.cell_type for piece in mine):
        repairs.append(f"{name} had become another kind of cell")
    if kind in STUDENTS and len(mine) > 1:
        touched = untouched_left_out(mine, released)
        if kind == "exercise" and len(touched) < len(mine) and not untouched(touched[0], released):
            repairs.append(f"a copy of {name} as it was released was left out")
        mine = touched
    if len(mine) > 1:
        joined = "joined" if kind in STUDENTS else "reduced to one"
        repairs.append(f"{name} was there in {len(mine)} cells, which were {joined}")
    if kind in STUDENTS:
        broken = _fill(cell, mine)
        if name in beside.code:
            cell.source = TAKEN
        elif name in beside.look:
            cell.source += f"\n\n{LOOK}"
        elif kind == "exercise":
            cell.source, left_out = without_timing(cell.source)
            repairs += [f"{name}: {left_out} was left out"] * bool(left_out)
        return [cell, *(new_code_cell(source, id="own") for source in broken)]
    cell.outputs = mine[0].outputs or []
    earlier = kind == "judge" and is_graded_line(mine[0].source.strip())  # with other points
    if earlier or mine[0].key == key_of(released.source):
        return [cell]
    edit = edit_of(mine[0].source, released.source) if kind == "given" else Edit()
    if edit is None:
        return [cell]
    note = f"{name} was edited: the lab's own text has been put back"
    note += ", the added lines after it" if edit.added else ""
    repairs.append(note + (f" ({edit.note})" if edit.note else ""))
    return [cell, *(new_code_cell(source, id="own") for source in edit.added)]


def _fill(cell: NotebookNode, mine: list[Piece]) -> list[str]:
    """Give a cell of the lab what a student wrote in it; what could not be joined is returned."""
    cell.source, broken = _joined(mine, cell.cell_type)
    pictures = {k: v for piece in mine for k, v in piece.shown.attachments.items()}
    if pictures and cell.cell_type == "markdown":
        cell.attachments = pictures
    return broken


def _joined(mine: list[Piece], cell_type: str) -> tuple[str, list[str]]:
    """The pieces of a student's cell as one source, in order, and code that is in no state to be
    joined and goes into cells of its own."""
    sources = [piece.shown.source for piece in mine]
    unlike = list(dict.fromkeys(sources))  # a copy of a cell is no second cell
    if cell_type == "markdown" or len(unlike) == 1:
        return "\n\n".join(unlike), []
    if compiles("\n".join(sources)):
        return "\n".join(sources), []
    whole = [source for source in unlike if compiles(source)]
    return "\n\n".join(whole), [source for source in unlike if source not in whole]


def _own_cells(pieces: list[Piece]) -> dict[int | None, list[NotebookNode]]:
    """The student's own cells by the lab's cell before them (None: at the top)."""
    own: dict[int | None, list[NotebookNode]] = {}
    before = None
    for piece in pieces:
        if piece.of is not None:
            before = id(piece)
            continue
        follows = before if piece.after is None else id(piece.after)
        make = new_code_cell if piece.type == "code" else new_markdown_cell
        name = piece.names[-1] if piece.names else ""
        cell = make(piece.shown.source, id=name if _ID.match(name) else "own")
        if piece.type == "code":
            cell.outputs = piece.outputs or []
        elif piece.shown.attachments:
            cell.attachments = piece.shown.attachments
        own.setdefault(follows, []).append(cell)
    return own


def _order(pieces: list[Piece], master: NotebookNode) -> list[str]:
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
