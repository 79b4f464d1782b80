"""What comes out of judging, and what goes in: challenges, findings, verdicts and their points."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from labsupport.course.source import LabCell
from labsupport.grading.cases import Case

STATUSES = (
    "passed", "failed", "error", "timeout", "crashed", "out of memory", "missing", "tampered",
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
    """What came of one case. ``message`` is for the student; "" where it is right."""

    part: str
    status: str = "passed"
    message: str = ""


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
    forged = [f for f in wrong.values() if f.status == "tampered"]
    shares = cell.parts or {"": float(cell.points)}
    earned = {} if forged else {part: p for part, p in shares.items() if part not in wrong}
    if not wrong:
        count = len(findings)
        status, message = "passed", f"{count} case{'s' * (count > 1)} right"
    elif forged or not cell.parts:
        found = (forged or list(wrong.values()))[0]
        status, message = found.status, one_line(found.message)
    else:
        first = next(wrong[part] for part in shares if part in wrong)
        status = "failed" if earned else first.status
        message = _by_part(cell, wrong, earned)
    parts = [{"part": part, "points": earned.get(part, 0.0), "max_points": most}
             for part, most in cell.parts.items()]
    return Verdict(cell.name, status, float(sum(earned.values())), float(cell.points), message,
                   parts)


def _by_part(cell: LabCell, wrong: dict[str, Finding], earned: dict[str, float]) -> str:
    """What each part is told; one sentence where all of them are told the same."""
    said = [f"{part} is right ({points:g} of {cell.points:g} points)."
            for part, points in earned.items()]
    messages = {part: one_line(wrong[part].message, 500) for part in cell.parts if part in wrong}
    if not earned and len(set(messages.values())) == 1:
        return next(iter(messages.values()))
    return " ".join(said + [f"{part}: {message.rstrip('.')}." for part, message in
                            messages.items()])


def error_verdict(case: Case, answer: dict) -> tuple[str, str]:
    """(status, message) for a case whose answer says that there is none."""
    kind, text = answer.get("error"), one_line(answer.get("text", ""))
    changed = f" ({text})" if text else ""
    messages: dict[Any, tuple[str, str]] = {
        "missing": ("missing", f"{text} is not defined in the notebook"),
        "unsolved": ("missing", "not implemented yet"),
        "unsendable": ("failed", f"{case.name}: {text}"),
        "unusable": ("failed", f"{case.name}: {text}"),
        "changed": ("failed",
                    f"{case.name}: the inputs were changed in place{changed}; work on a copy"),
        "raised": ("error", f"{case.name}: {text}"),
    }
    known = isinstance(kind, str) and kind in messages
    return messages[kind] if known else ("tampered", "the response is malformed")


def one_line(text: Any, most: int = 600) -> str:
    """A student's text as one line of printable characters, and not a long one."""
    line = " ".join(str(text)[: 4 * most].split())
    return "".join(c for c in line if c.isprintable())[:most]
