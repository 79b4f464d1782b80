"""Known mistakes: a lab's traps, and which of them an answer equals."""

from typing import Any

from labsupport.course.lab import Lab, LabCell
from labsupport.grading.answers.respond import LabNamespace
from labsupport.grading.answers.wire import decode
from labsupport.grading.judging.cases import Case
from labsupport.grading.judging.compare import difference
from labsupport.grading.judging.lab_code import Judge, namespace_of


def diagnosis_of(trap: LabCell) -> str:
    """The comment that begins a trap: what a student with this mistake is told."""
    lines = []
    for line in trap.source.strip().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    return " ".join(lines)


class Catalogue:
    """A lab's known mistakes, run when they are first asked for."""

    def __init__(self, lab: Lab):
        self._lab = lab
        self._traps: dict[str, list[tuple[LabCell, LabNamespace]]] = {}

    def hint(self, judge: Judge, case: Case, value: Any) -> str:
        """The diagnosis of the first known mistake whose answer on this case equals ``value``;
        "" where there is none."""
        for trap, namespace in self._namespaces(judge.exercise):
            try:
                (answer,) = judge.answers(namespace, [case])
                mistaken = decode(answer["answer"])
                same = difference(value, mistaken, judge.tolerance) is None
            except Exception:  # a trap may fail on some inputs; then it explains nothing here
                continue
            if same:
                return diagnosis_of(trap)
        return ""

    def _namespaces(self, exercise: str) -> list[tuple[LabCell, LabNamespace]]:
        if exercise not in self._traps:
            self._traps[exercise] = [
                (trap, LabNamespace(namespace_of(self._lab, {exercise: trap.source})))
                for trap in self._lab.of("trap", exercise)
            ]
        return self._traps[exercise]
