"""What a page must have to be read aloud: named heads of tables, and headings without gaps.

A screen reader says a column's head before each of its cells, and a reader who does not see the
page goes from heading to heading.
"""

import re
from collections.abc import Iterator

from labsupport.course.lab import BEGIN, END, Lab, SourceError

BOX, NAMED_BOX = "| | |", "| Task | In short |"  # the box of every exercise's card
_RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*")
_CIRCLES = re.compile("[●○]")
_FENCE = re.compile(r"\s*(```|~~~)")


def with_named_box(source: str) -> str:
    """A cell of prose in which the box of an exercise has heads: the source leaves them out."""
    return re.sub(rf"(?m)^{re.escape(BOX)}$", NAMED_BOX, source)


def check_readable(lab: Lab) -> None:
    """Raises SourceError at a table with an empty head, a circle in the place of a word, and a
    heading that is a second title or skips a level."""
    level, titles, sections = 0, 0, _has_sections(lab)
    for cell in lab.cells:
        if cell.kind not in ("prose", "question"):
            continue
        lines = list(_text_lines(with_named_box(cell.source)))
        for (number, line), (_, rule) in zip(lines, lines[1:]):
            if "|" in line and "|" in rule and _RULE.fullmatch(rule) and "" in _heads(line):
                raise SourceError(
                    lab.path,
                    cell.line + number,
                    "a table has a head without a word",
                    f"name every column; only a card's box may begin with {BOX!r}",
                )
        for number, line in lines:
            if _CIRCLES.search(line):
                raise SourceError(
                    lab.path,
                    cell.line + number,
                    "circles say how hard something is",
                    "write easy, medium or hard: circles are read aloud as shapes",
                )
            heading = re.match(r"(#{1,6}) ", line)
            if heading is None:
                continue
            deeper = len(heading[1])
            titles += deeper == 1
            if titles > 1 or (level and deeper > level + 1 and (sections or level > 1)):
                problem = "a second title" if titles > 1 else f"a heading of level {deeper}"
                after = "" if titles > 1 else f" after one of level {level}"
                raise SourceError(
                    lab.path,
                    cell.line + number,
                    f"{problem}{after}",
                    "a page has one title, and below it no level of headings is left out",
                )
            level = deeper


def _has_sections(lab: Lab) -> bool:
    """A lab without any may go from its title to its exercises at once."""
    lines = (line for c in lab.of("prose") for _, line in _text_lines(c.source))
    return any(line.startswith("## ") for line in lines)


def _text_lines(source: str) -> Iterator[tuple[int, str]]:
    """(number in the cell, line) of what is no code block."""
    inside = False
    for number, line in enumerate(source.splitlines(), 1):
        if _FENCE.match(line):
            inside = not inside
        elif not inside and line.strip() not in (BEGIN, END):
            yield number, line


def _heads(line: str) -> list[str]:
    line = line.strip()
    cells = re.split(r"(?<!\\)\|", line)
    return [c.strip() for c in cells[line.startswith("|") : len(cells) - line.endswith("|")]]
