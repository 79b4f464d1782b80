"""Verdicts and their points: what goes into judging (challenges), what is found in each case, and
what comes out."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from labsupport.course.lab import LabCell
from labsupport.grading.judging.cases import Case

Status = Literal[
    "passed",
    "failed",
    "error",
    "timeout",
    "crashed",
    "out of memory",
    "missing",
    "tampered",
    "not reached",
]
STATUSES: tuple[Status, ...] = get_args(Status)

# Why an exercise was not passed, for programs; people read the message.
Cause = Literal[
    "",  # passed
    "known mistake",  # the answer equals a trap's: the hint says which
    "not what is right",
    "two results",  # called twice on the same inputs
    "changed inputs",
    "unusable",  # what came back is no answer: wrong kind, too large, cut off from its gradient
    "raised",
    "not solved",  # the stub as it came, or nothing of that name
    "no response",
    "forged",
    "time",
    "memory",
    "died",  # the kernel, of anything else
    "not reached",  # the kernels died in the cells before it
]
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass
class Verdict:
    """The outcome of one exercise.

    ``parts`` has ``{"part", "points", "max_points"}`` of each where the exercise has parts; then
    a ``failed`` one may have earned some of its points. ``hint`` is the diagnosis of a known
    mistake, which is in ``message`` too; ``cause`` is then "known mistake", and otherwise that of
    the first finding.
    """

    exercise: str
    status: Status
    points: float
    max_points: float
    message: str
    parts: list[dict] = field(default_factory=list)
    cause: Cause = ""
    hint: str = ""

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


@dataclass(frozen=True)
class Finding:
    """What came of one case: ``text`` says what is wrong, in the case named ``case`` if it is a
    matter of the inputs; ``hint`` is the diagnosis, where the mistake is a known one."""

    part: str
    status: Status = "passed"
    cause: Cause = ""
    text: str = ""
    case: str = ""
    hint: str = ""


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
    hint = ""
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
        cause = "known mistake" if hint else first.cause
    parts = [
        {"part": part, "points": earned.get(part, 0.0), "max_points": most}
        for part, most in cell.parts.items()
    ]
    total = float(sum(earned.values()))
    return Verdict(cell.name, status, total, float(cell.points), message, parts, cause, hint)


def _message(cell: LabCell, wrong: list[Finding], earned: dict[str, float], alike: bool) -> str:
    """What was earned, then what is wrong in each other part. Nothing is said twice: not a
    part's name where all parts are told the same (``alike``), and not a hint."""
    said: list[str] = []
    hints: set[str] = set()
    if earned:
        points = sum(earned.values())
        said.append(f"{points:g} of {cell.points:g} points, for {' and '.join(earned)}.")
    for found in wrong:
        place = ", ".join(filter(None, ("" if alike else found.part, found.case)))
        text = f"{place}: {found.text}" if place else found.text
        if len(wrong) > 1 or earned or found.hint:
            text = text.rstrip(".") + "."
        if found.hint and found.hint not in hints:
            text += f" {found.hint}"
            hints.add(found.hint)
        said.append(one_line(text))
    return " ".join(said)


def error_finding(case: Case, answer: dict) -> Finding:
    """The finding on a case whose answer says that there is none."""
    kind, text = answer.get("error"), one_line(answer.get("text", ""))
    if kind == "missing":
        missing = f"{text} is not defined in the notebook"
        return Finding(case.part, "missing", "not solved", missing)
    if kind == "unsolved":
        return Finding(case.part, "missing", "not solved", "not implemented yet")
    if kind in ("unsendable", "unusable"):
        return Finding(case.part, "failed", "unusable", text, case.name)
    if kind == "changed":
        which = f" ({text})" if text else ""
        changed = f"the inputs were changed in place{which}; work on a copy"
        return Finding(case.part, "failed", "changed inputs", changed, case.name)
    if kind == "raised":
        return Finding(case.part, "error", "raised", text, case.name)
    return Finding(case.part, "tampered", "forged", "the response is malformed")


def one_line(text: Any, most: int = 600) -> str:
    """A student's text as one line of printable characters, and not a long one."""
    line = " ".join(str(text)[: 4 * most].split())
    return "".join(c for c in line if c.isprintable())[:most]
