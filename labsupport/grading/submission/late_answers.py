"""Work that a student did beside the cell that the lab has for it, which was left as released.

A written answer in the one new cell right below is the answer; where it is less certain, a person
is asked to look. Code that defines an exercise's names counts from wherever it stands.
"""

import ast

from nbformat.notebooknode import NotebookNode

from labsupport.grading.submission.cell_code import compiles, defined_names, tree_of
from labsupport.grading.submission.pieces import Piece, key_of, kind_of

LOOK = "*(Left as it was released. What stands in the cells beside it may be the answer.)*"
TAKEN = "# This exercise's cell was left as released; its names are defined in another."


class Beside:
    """What was done elsewhere, by the lab's cell that it is for."""

    def __init__(self, pieces: list[Piece], found: dict[str, list[Piece]], master: NotebookNode):
        self.code: set[str] = set()  # exercises whose names a cell of the student's own defines
        self.look: set[str] = set()  # answers that a person has to look for
        self.notes: list[str] = []
        self._pieces, self._found = pieces, found
        self._place = {id(piece): place for place, piece in enumerate(pieces)}
        kinds = {cell.id: kind_of(cell) for cell in master.cells}
        self._stub_copies([cell for cell in master.cells if kinds[cell.id] == "exercise"])
        for cell in master.cells:
            mine = found.get(cell.id, [])
            if not mine or not all(untouched(piece, cell) for piece in mine):
                continue
            if kinds[cell.id] == "exercise":
                self._attempt(cell, mine)
            elif kinds[cell.id] == "answer":
                self._answer(cell.id, mine)

    def _stub_copies(self, stubs: list[NotebookNode]) -> None:
        """A copy of an exercise as it was released is a part of it, wherever it stands."""
        for piece in self._pieces:
            if piece.of is not None or piece.type != "code":
                continue
            stub = next((s for s in stubs if untouched(piece, s) and s.id in self._found), None)
            if stub is not None:
                piece.of = stub.id
                self._found[stub.id].append(piece)

    def _attempt(self, cell: NotebookNode, mine: list[Piece]) -> None:
        wanted = defined_names(cell.source)
        attempts = [p for p in self._pieces if p.of is None and wanted & p.defines]
        if not attempts:
            return
        self.code.add(cell.id)
        self.notes.append(
            f"{cell.id} was left as released: {', '.join(sorted(wanted))} of another cell was taken"
        )
        last = self._place[id(mine[-1])]
        near = {id(p) for p in [*self._gap(last, 1), *self._gap(self._place[id(mine[0])], -1)]}
        follow = mine[-1]
        for piece in attempts:
            if id(piece) not in near:  # it would come after its check and its judge
                for one in [*reversed(self._gap(self._place[id(piece)], -1)), piece]:
                    one.after = follow

    def _answer(self, name: str, mine: list[Piece]) -> None:
        below = self._gap(self._place[id(mine[-1])], 1)
        above = self._gap(self._place[id(mine[0])], -1)
        if len(below) == 1 and _is_text(below[0]) and not any(map(_may_answer, above)):
            below[0].of = name
            self._found[name].append(below[0])
            self.notes.append(f"{name} was left as released: the cell below it was taken for it")
            return
        bottom = self._gap(len(self._pieces), -1)
        called = name.removeprefix("answer-")
        if any(map(_may_answer, [*below, *above, *bottom])) or any(
            called in p.source for p in self._pieces if p.of is None and _is_text(p)
        ):
            self.look.add(name)
            self.notes.append(
                f"{name} was left as released, but cells of your own may be the answer: a person "
                "will look"
            )

    def _gap(self, place: int, step: int) -> list[Piece]:
        """The student's own cells next to a place, up to the next cell of the lab."""
        found = []
        place += step
        while 0 <= place < len(self._pieces) and self._pieces[place].of is None:
            found.append(self._pieces[place])
            place += step
        return found


def untouched_left_out(pieces: list[Piece], released: NotebookNode) -> list[Piece]:
    """The pieces of a student's cell without those that are as they were released, where there is
    another."""
    return [piece for piece in pieces if not untouched(piece, released)] or pieces[:1]


def untouched(piece: Piece, released: NotebookNode) -> bool:
    """Whether a piece is as the lab released it, whatever a formatter made of its lay-out."""
    if piece.key == key_of(released.source):
        return True
    if piece.type != "code" or released.cell_type != "code" or not piece.key:
        return False
    if len(piece.key) > 3 * len(released.source) or piece.defines != defined_names(released.source):
        return False
    trees = [tree_of(piece.source), tree_of(released.source)]
    return None not in trees and len({ast.dump(tree) for tree in trees if tree}) == 1


def _is_text(piece: Piece) -> bool:
    return piece.type != "code" and bool(piece.key)


def _may_answer(piece: Piece) -> bool:
    """Whether a cell says something: markdown, or a code cell in which somebody wrote prose."""
    if not piece.key:
        return False
    tree = tree_of(piece.source)
    return (
        piece.type != "code" or not compiles(piece.source) or (tree is not None and not tree.body)
    )
