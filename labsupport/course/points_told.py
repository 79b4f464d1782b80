"""Points that a lab's prose names: they are the markers', whatever the prose was written with.

The total under the title, and the points in the heading of an exercise or a question, are put in
when a notebook is built. What a card says of an exercise's parts is held against the judge.
"""

import itertools
import re

from labsupport.course.lab import Lab, LabCell, SourceError

_POINTS = r"\d+(?:\.\d+)?(?= points?\b)"
_TOTAL = re.compile(rf"(?m)^(\*\*){_POINTS} points?\b")
_HEADING = re.compile(rf"(?m)^(#+ .*?· ){_POINTS} points?\b")
_ROW = re.compile(r"\| \*\*(Parts|Graded|Deliverable)\*\* \|")


def points_text(points: float) -> str:
    """Points in words: "1 point", "2.5 points"."""
    return f"{points:g} point{'s' if points != 1 else ''}"


def with_points(cell: LabCell, lab: Lab) -> str:
    """The source of a cell of prose, or of a question, with the points that the markers say."""
    if cell.kind == "question":
        return _HEADING.sub(rf"\g<1>{points_text(cell.points)}", cell.source)
    source, graded = cell.source, _card_of(cell, lab)
    if graded is not None:
        source = _HEADING.sub(rf"\g<1>{points_text(graded.points)}", source)
    if not any(c.kind == "exercise" for c in lab.cells[: _place(cell, lab)]):
        source = _TOTAL.sub(rf"\g<1>{points_text(lab.points)}", source)
    return source


def check_parts_told(lab: Lab) -> None:
    """Raise SourceError where a card names points of a part that the exercise's judge does not
    give for any of its parts."""
    for cell in lab.cells:
        judge = _card_of(cell, lab) if cell.kind == "prose" else None
        if judge is None or not judge.points:
            continue
        shares = list(judge.parts.values()) or [judge.points]
        sums = {
            sum(some)
            for count in range(1, len(shares) + 1)
            for some in itertools.combinations(shares, count)
        }
        for offset, line in enumerate(cell.source.splitlines(), 1):
            for told in re.findall(_POINTS, line) if _ROW.match(line) else ():
                if float(told) not in sums:
                    raise SourceError(
                        lab.path,
                        cell.line + offset,
                        f"the card of {judge.name!r} speaks of {told} points, and no part of its "
                        f"judge gives them ({_listed(judge)})",
                        "write the judge's points there, or change the judge",
                    )


def _card_of(cell: LabCell, lab: Lab) -> LabCell | None:
    """The judge of the exercise whose card a cell is: the last prose before the exercise."""
    for after in lab.cells[_place(cell, lab) + 1 :]:
        if after.kind == "exercise":
            return next(iter(lab.of("judge", after.name)), None)
        if after.kind != "given":
            return None
    return None


def _place(cell: LabCell, lab: Lab) -> int:
    return next(place for place, other in enumerate(lab.cells) if other is cell)


def _listed(judge: LabCell) -> str:
    parts = [f"{name} {share:g}" for name, share in judge.parts.items()]
    return ", ".join(parts) or points_text(judge.points)
