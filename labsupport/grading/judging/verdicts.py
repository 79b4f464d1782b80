"""Verdicts and their points: what goes into judging (challenges), what is found in each case, and
what comes out."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from labsupport.answers.findings import CAUSES, STATUSES, Cause, Finding, Status
from labsupport.answers.text import one_line
from labsupport.course.lab import LabCell
from labsupport.grading.judging.cases import Case

__all__ = ["CAUSES", "STATUSES", "Cause", "Challenge", "Finding", "Status", "Verdict", "score"]


@dataclass
class Verdict:
    """The outcome of one exercise.

    ``parts`` has ``{"part", "points", "max_points"}`` of each where the exercise has parts; then
    a ``failed`` one may have earned some of its points. ``hint`` is the diagnosis of a known
    mistake, which is in ``message`` too; ``cause`` is then "known mistake", and otherwise that of
    the first finding. ``seen`` is what is said in the place of a diagnosis: how the answer differs,
    and which cases are wrong.
    """

    exercise: str
    status: Status
    points: float
    max_points: float
    message: str
    parts: list[dict] = field(default_factory=list)
    cause: Cause = ""
    hint: str = ""
    seen: str = ""

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass
class Challenge:
    """What one student is asked in one exercise, or in one part of it. ``text`` is all that
    travels; ``expected`` are the solution's answers, once they have been worked out."""

    exercise: str
    cases: list[Case]
    nonce: str
    text: str
    expected: list[dict] | None = None


def score(cell: LabCell, findings: Iterable[Finding]) -> Verdict:
    """The verdict on an exercise by what was found in its cases; ``cell`` is its judge.

    A part is earned when all its cases are right; an exercise without parts is one part. An
    answer that is not the grader's own forfeits the whole exercise.
    """
    findings = list(findings)
    wrong: dict[str, Finding] = {}
    for found in findings:
        if found.status != "passed":
            wrong.setdefault(found.part, found)
    forged = next((f for f in wrong.values() if f.status == "tampered"), None)
    shares = cell.parts or {"": float(cell.points)}
    earned = {} if forged else {part: p for part, p in shares.items() if part not in wrong}
    status: Status = "passed"
    cause: Cause = ""
    hint = seen = ""
    if not wrong:
        count = len(findings)
        message = f"{count} case{'s' * (count > 1)} right"
    else:
        first = forged or next(wrong[part] for part in shares if part in wrong)
        told = [first] if forged else list(wrong.values())
        alike = not earned and len({(f.text, f.case) for f in told}) == 1
        told = told[:1] if alike else told
        status = "failed" if earned else first.status
        message = _message(cell, told, earned, alike)
        hint = next((f.hint for f in reversed(told) if f.hint), "")
        seen = next((how for f in told if (how := f.says_how)), "")
        cause = "known mistake" if hint else first.cause
    parts = [
        {"part": part, "points": earned.get(part, 0.0), "max_points": most}
        for part, most in cell.parts.items()
    ]
    total = float(sum(earned.values())) if cell.points else 0.0  # one that does not count
    return Verdict(cell.name, status, total, float(cell.points), message, parts, cause, hint, seen)


def _message(cell: LabCell, wrong: list[Finding], earned: dict[str, float], alike: bool) -> str:
    """What was earned, then what is wrong in each other part. Nothing is said twice: not a
    part's name where all parts are told the same (``alike``), and not a hint."""
    said: list[str] = []
    hints: set[str] = set()
    if earned:
        points = sum(earned.values()) if cell.points else 0
        said.append(f"{points:g} of {cell.points:g} points, for {' and '.join(earned)}.")
    for found in wrong:
        place = ", ".join(filter(None, ("" if alike else found.part, found.case)))
        text = f"{place}: {found.text}" if place else found.text
        if len(wrong) > 1 or earned or found.hint or found.seen:
            text = text.rstrip(".") + "."
        if found.seen:
            text += f" {found.seen[0].upper()}{found.seen[1:]}"
        if found.hint and found.hint not in hints:
            text += f" {found.hint}"
            hints.add(found.hint)
        said.append(one_line(text))
    return " ".join(said)
