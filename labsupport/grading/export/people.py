"""Whose row it is: a platform's people and the course's students, matched by what is certain.

An id or an address decides; a name only where nobody else has it, on either side, and no id speaks
against it. Where two would get one row, or one two rows, none gets any, and it is said.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from labsupport.grading.ledger.standing import Standing

KINDS = ("own", "number", "id", "login", "email", "bare")


@dataclass(frozen=True)
class Person:
    """A student of the course. ``number``: what one download called them (Moodle's participants
    have another number in every assignment). ``elsewhere``: they were collected from another
    platform than this one, so ``lms_user_id`` is no number of its own, but may be the school's."""

    student: str
    name: str = ""
    lms_user_id: str = ""
    email: str = ""
    number: str = ""
    elsewhere: bool = False

    def keys(self, kind: str) -> set[str]:
        """What a platform may call them: as its own user, by a school's id, to log in, to write
        to; "bare": by the course's id, where nothing says whose number that is."""
        known = {
            "own": [] if self.elsewhere else [self.lms_user_id],
            "number": [self.number],
            "id": [self.student, self.lms_user_id if self.elsewhere else ""],
            "login": [self.student, self.email],
            "email": [self.email, self.student if "@" in self.student else ""],
            "bare": [] if self.elsewhere or self.lms_user_id else [self.student],
        }[kind]
        return {same(text) for text in known if text.strip()}


@dataclass
class Row:
    """A row of a platform's file. ``keys``: (kind, heading, text), the most certain first;
    ``own``: the platform's id of this user, ``number``: this assignment's, where the file has
    them."""

    index: int
    name: str
    keys: list[tuple[str, str, str]] = field(default_factory=list)
    own: str = ""
    number: str = ""


@dataclass
class Match:
    """Students by row, how each was recognised, and why the other rows have none."""

    found: dict[int, str] = field(default_factory=dict)
    by: dict[int, str] = field(default_factory=dict)
    doubts: dict[int, str] = field(default_factory=dict)

    def without_row(self, people: Iterable[Person]) -> list[Person]:
        matched = set(self.found.values())
        return [person for person in people if person.student not in matched]


def people_of(standings: Iterable[Standing]) -> list[Person]:
    """Every student once."""
    found = {
        one.student: Person(
            one.student,
            f"{one.first_name} {one.last_name}".strip(),
            one.lms_user_id.strip(),
            one.email.strip(),
        )
        for one in standings
    }
    return [found[student] for student in sorted(found)]


def match(rows: list[Row], people: list[Person]) -> Match:
    """Who is in which row."""
    result, known = Match(), _Known(people)
    names = Counter(_words(row.name) for row in rows)
    for row in rows:
        student, by, doubt = _by_key(row, known)
        if not student and not doubt:
            student, by, doubt = _by_name(row, known, names)
        if student:
            result.found[row.index], result.by[row.index] = student, by
        else:
            result.doubts[row.index] = doubt
    for student, count in Counter(result.found.values()).items():
        if count > 1:
            for index in [i for i, s in result.found.items() if s == student]:
                del result.found[index]
                result.doubts[index] = f"{count} rows could be {student}: none was filled in"
    return result


class _Known:
    """People by all that they may be called."""

    def __init__(self, people: list[Person]):
        self._by_key: dict[tuple[str, str], list[Person]] = {}
        self._by_name: dict[tuple[str, ...], list[Person]] = {}
        for person in people:
            for kind in KINDS:
                for key in person.keys(kind):
                    self._by_key.setdefault((kind, key), []).append(person)
            # a student whose id nobody has told (a download of Moodle's names no other) has a
            # name for an id
            for words in {_words(person.name), _words(person.student)} - {()}:
                self._by_name.setdefault(words, []).append(person)

    def called(self, kind: str, text: str) -> list[Person]:
        return self._by_key.get((kind, same(text)), []) if text.strip() else []

    def named(self, name: str) -> list[Person]:
        return self._by_name.get(_words(name), [])


def same(text: str) -> str:
    """A form in which two ways of writing one id are equal."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def _by_key(row: Row, known: _Known) -> tuple[str, str, str]:
    """(student, heading, doubt), the first two or the last or all of them ""."""
    evidence: dict[str, tuple[Person, str, str]] = {}
    for kind, heading, text in row.keys:
        if kind != "bare" or not evidence:
            for person in known.called(kind, text):
                evidence.setdefault(person.student, (person, heading, kind))
    if not evidence:
        return "", "", ""
    if len(evidence) > 1:
        listed = ", ".join(f"{student} by its {by}" for student, (_, by, _) in evidence.items())
        return "", "", f"it could be {listed}: none was filled in"
    ((student, (person, by, kind)),) = evidence.items()
    if doubt := _against(row, person):
        return "", "", f"{doubt}, though its {by} is {student}'s: not filled in"
    differ = person.name and row.name and _words(person.name) != _words(row.name)
    if kind == "bare" and differ:
        return "", "", f"its {by} is the course's {student}, who is called {person.name}"
    return student, by, ""


def _against(row: Row, person: Person) -> str:
    """What says that this is somebody else: two users of one platform have two ids."""
    own = "" if person.elsewhere else person.lms_user_id
    for theirs, here in ((own, row.own), (person.number, row.number)):
        if theirs.strip() and here.strip() and same(theirs) != same(here):
            return f"{person.student} is {theirs} there, not {here}"
    return ""


def _by_name(row: Row, known: _Known, names: Counter) -> tuple[str, str, str]:
    words, alike = _words(row.name), known.named(row.name)
    if not alike:
        return "", "", "no student of the course has its ids or its name"
    listed = ", ".join(p.student for p in alike)
    if len(alike) > 1 or names[words] > 1:
        return "", "", f"only a name could tell, and more than one has it ({listed})"
    (person,) = alike
    if doubt := _against(row, person):
        return "", "", f"named as {person.student}, but {doubt}"
    return person.student, "name", ""


def _words(name: str) -> tuple[str, ...]:
    """A name's words in one order: "Doe, Jane" is "Jane Doe"."""
    return tuple(sorted(same(name).replace(",", " ").replace("-", " ").split()))
