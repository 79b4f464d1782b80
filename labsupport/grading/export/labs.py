"""Whose column, or file, it is: a platform's assignments and the course's labs, by their names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labsupport.course.source import find_labs, read_lab
from labsupport.errors import CourseError

_WITH_ID = re.compile(r"(?P<title>.*?)\s*\((?P<id>\d+)\)\s*")


@dataclass(frozen=True)
class LabName:
    """What a lab may be called."""

    stem: str
    number: str
    title: str


def lab_names(folder: Path, stems: Iterable[str]) -> list[LabName]:
    """The names of labs of a course; one whose source is gone has its stem only."""
    known = {path.stem: read_lab(path) for path in find_labs(folder / "labs")}
    return [
        LabName(stem, lab.number, lab.title) if (lab := known.get(stem)) else LabName(stem, "", "")
        for stem in stems
    ]


def without_id(title: str) -> str:
    """``Lab 01`` of Canvas' ``Lab 01 (12345)``."""
    found = _WITH_ID.fullmatch(title)
    return found["title"] if found else title.strip()


def said(options: Iterable[str], labs: list[LabName], titles: list[str]) -> dict[str, int]:
    """Which title is which lab's by ``--column LAB=TITLE``. Raises CourseError for one that is
    not there."""
    found: dict[str, int] = {}
    for option in options:
        name, equals, title = option.partition("=")
        lab = next((lab for lab in labs if name.strip() in (lab.stem, lab.number)), None)
        if not equals or lab is None:
            listed = ", ".join(lab.number or lab.stem for lab in labs)
            raise CourseError(f"--column {option!r}: say LAB=TITLE, with a LAB of {listed}")
        places = [i for i, t in enumerate(titles) if _called(t, title)]
        if len(places) != 1:
            there = "; ".join(titles) or "none"
            raise CourseError(
                f"--column {option!r}: {len(places) or 'no'} such columns; there are: {there}"
            )
        found[lab.stem] = places[0]
    return found


def guess(labs: list[LabName], titles: list[str], known: dict[str, int]) -> dict[str, list[int]]:
    """The titles that could be each lab's; exactly one is an answer. ``known`` ones are taken."""
    free = [i for i in range(len(titles)) if i not in known.values()]
    found = {lab.stem: _candidates(lab, titles, free) for lab in labs if lab.stem not in known}
    claims = [places[0] for places in found.values() if len(places) == 1]
    for stem, places in found.items():
        if len(places) == 1 and claims.count(places[0]) > 1:  # two labs would get one column
            found[stem] = places * 2
    return found | {stem: [place] for stem, place in known.items()}


def _candidates(lab: LabName, titles: list[str], free: list[int]) -> list[int]:
    """By the best rule that fits any: the same name, then its number, then its title in it."""
    words, number = _words(lab.title), lab.number.lstrip("0")
    rules = [lambda words_of: words_of in (_words(lab.stem), words, _words(lab.number) + words)]
    if number:
        rules.append(lambda words_of: _numbered(words_of, number))
    if words:
        rules.append(lambda words_of: _within(words, words_of))
    for rule in rules:
        if places := [i for i in free if rule(_words(without_id(titles[i])))]:
            return places
    return []


def _numbered(words: list[str], number: str) -> bool:
    """``lab 01``, ``lab1``, ``01 vision …``: its number, first or behind the word lab."""
    for index, word in enumerate(words):
        bare = re.sub(r"^lab(oratory|s)?", "", word)
        behind = word != bare or index == 0 or re.fullmatch(r"lab(oratory|s)?", words[index - 1])
        if behind and bare.lstrip("0") == number:
            return True
    return False


def _within(words: list[str], others: list[str]) -> bool:
    count = len(words)
    return any(others[i : i + count] == words for i in range(len(others) - count + 1))


def _called(title: str, asked: str) -> bool:
    found = _WITH_ID.fullmatch(title)
    names = {title.strip(), without_id(title), found["id"] if found else title.strip()}
    return asked.strip().casefold() in {name.casefold() for name in names}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.replace("_", " ").casefold())
