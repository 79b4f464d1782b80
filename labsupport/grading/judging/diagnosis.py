"""Known mistakes: a lab's traps, and which of them an answer equals."""

from collections.abc import Iterator

from labsupport.answers.mistakes import Mistake
from labsupport.answers.respond import LabNamespace
from labsupport.answers.wire import decode
from labsupport.course.lab import Lab, LabCell
from labsupport.grading.judging.cases import Case
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

    def mistakes(self, judge: Judge, cases: list[Case]) -> Iterator[Mistake]:
        """Each known mistake with its answers to some cases."""
        for trap, namespace in self._namespaces(judge.exercise):
            answers = judge.answers(namespace, cases)
            values = [decode(a["answer"]) if "answer" in a else None for a in answers]
            yield Mistake(diagnosis_of(trap), values)

    def _namespaces(self, exercise: str) -> list[tuple[LabCell, LabNamespace]]:
        if exercise not in self._traps:
            self._traps[exercise] = [
                (trap, LabNamespace(namespace_of(self._lab, {exercise: trap.source})))
                for trap in self._lab.of("trap", exercise)
            ]
        return self._traps[exercise]
