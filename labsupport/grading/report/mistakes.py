"""Mistakes, the commonest first: verdicts of one kind counted together."""

import re
from collections import Counter
from dataclasses import dataclass

from labsupport.answers.text import one_line
from labsupport.course.lab import Lab
from labsupport.grading.judging.diagnosis import diagnosis_of
from labsupport.grading.report.data import UNANSWERED, LabResults

_NUMBER = re.compile(r"\d[\d.,e+-]*")


@dataclass
class Mistake:
    """``catalogued``: it is one of the lab's known mistakes, and ``text`` its diagnosis; else
    ``text`` is the commonest of the messages that differ in cases and numbers only."""

    exercise: str
    status: str
    text: str
    catalogued: bool
    students: list[str]


def mistakes(results: LabResults) -> list[Mistake]:
    """All kinds of wrong answers, the commonest first."""
    known = {
        name: {one_line(diagnosis_of(t)) for t in results.lab.of("trap", name)}
        for name in results.lab.exercises
    }
    groups: dict[tuple, list[tuple[str, str]]] = {}
    for run in results.graded:
        for exercise, (status, message) in run.verdicts.items():
            if status == "passed" or status in UNANSWERED:
                continue
            hint = run.hints.get(exercise, "")
            hit = hint if hint in known.get(exercise, ()) else ""  # of this lab as it is now
            key = (exercise, status, hit, "" if hit else _gist(message))
            groups.setdefault(key, []).append((run.student, message))
    found = [
        Mistake(
            exercise,
            status,
            hit or Counter(m for _, m in members).most_common(1)[0][0],
            bool(hit),
            [student for student, _ in members],
        )
        for (exercise, status, hit, _), members in groups.items()
    ]
    place = {name: index for index, name in enumerate(results.lab.exercises)}
    return sorted(found, key=lambda m: (-len(m.students), place.get(m.exercise, 99), m.text))


def catalogue_size(lab: Lab) -> int:
    """How many known mistakes the lab lists."""
    return len(lab.of("trap"))


def _gist(message: str) -> str:
    """A message without its case and numbers, by which messages of one kind are recognised."""
    _, colon, rest = message.partition(": ")
    return _NUMBER.sub("#", rest if colon else message)
