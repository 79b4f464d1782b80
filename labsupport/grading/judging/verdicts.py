"""What comes out of judging, and what goes in: challenges, findings, verdicts and their points."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from labsupport.course.source import LabCell
from labsupport.grading.judging.cases import Case

STATUSES = (
    "passed",
    "failed",
    "error",
    "timeout",
    "crashed",
    "out of memory",
    "missing",
    "tampered",
    "not reached",
)


@dataclass
class Verdict:
    """The outcome of one exercise. ``status`` is one of ``STATUSES``.

    ``parts`` has ``{"part", "points", "max_points"}`` of each where the exercise has parts; then
    a ``failed`` one may have earned some of its points.
    """

    exercise: str
    status: str
    points: float
    max_points: float
    message: str
    parts: list[dict] = field(default_factory=list)

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
    status: str = "passed"
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
    if not wrong:
        count = len(findings)
        status, message = "passed", f"{count} case{'s' * (count > 1)} right"
    else:
        first = forged or next(wrong[part] for part in shares if part in wrong)
        status = "failed" if earned else first.status
        message = _message(cell, [first] if forged else list(wrong.values()), earned)
    parts = [
        {"part": part, "points": earned.get(part, 0.0), "max_points": most}
        for part, most in cell.parts.items()
    ]
    return Verdict(
        cell.name, status, float(sum(earned.values())), float(cell.points), message, parts
    )


def _message(cell: LabCell, wrong: list[Finding], earned: dict[str, float]) -> str:
    """What was earned, then what is wrong in each other part. Nothing is said twice: not a
    part's name where all parts are told the same, and not a hint."""
    alike = not earned and len({(f.text, f.case) for f in wrong}) == 1
    said, hints = [], set()
    if earned:
        points = sum(earned.values())
        said.append(f"{points:g} of {cell.points:g} points, for {' and '.join(earned)}.")
    wrong = wrong[:1] if alike else wrong
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
    changed = f" ({text})" if text else ""
    known: dict[Any, tuple[str, str, str]] = {
        "missing": ("missing", f"{text} is not defined in the notebook", ""),
        "unsolved": ("missing", "not implemented yet", ""),
        "unsendable": ("failed", text, case.name),
        "unusable": ("failed", text, case.name),
        "changed": (
            "failed",
            f"the inputs were changed in place{changed}; work on a copy",
            case.name,
        ),
        "raised": ("error", text, case.name),
    }
    if not isinstance(kind, str) or kind not in known:
        return Finding(case.part, "tampered", "the response is malformed")
    return Finding(case.part, *known[kind])


def one_line(text: Any, most: int = 600) -> str:
    """A student's text as one line of printable characters, and not a long one."""
    line = " ".join(str(text)[: 4 * most].split())
    return "".join(c for c in line if c.isprintable())[:most]
