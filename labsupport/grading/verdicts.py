"""What comes out of judging, and what goes in: verdicts and challenges."""

from dataclasses import asdict, dataclass
from typing import Any

from labsupport.grading.cases import Case

STATUSES = (
    "passed", "failed", "error", "timeout", "crashed", "out of memory", "missing", "tampered",
    "not reached",
)


@dataclass
class Verdict:
    """The outcome of one exercise. ``status`` is one of ``STATUSES``."""

    exercise: str
    status: str
    points: float
    max_points: float
    message: str

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass
class Challenge:
    """What one student is asked in one exercise. ``text`` is all that travels; ``expected`` are
    the solution's answers, once they have been worked out."""

    exercise: str
    cases: list[Case]
    nonce: str
    text: str
    expected: list[dict] | None = None


def error_verdict(case: Case, answer: dict) -> tuple[str, str]:
    """(status, message) for a case whose answer says that there is none."""
    kind, text = answer.get("error"), one_line(answer.get("text", ""))
    messages: dict[Any, tuple[str, str]] = {
        "missing": ("missing", f"{text} is not defined in the notebook"),
        "unsolved": ("missing", "not implemented yet"),
        "unsendable": ("failed", f"{case.name}: {text}"),
        "changed": ("failed", f"{case.name}: the inputs were changed in place; work on a copy"),
        "raised": ("error", f"{case.name}: {text}"),
    }
    known = isinstance(kind, str) and kind in messages
    return messages[kind] if known else ("tampered", "the response is malformed")


def one_line(text: Any, most: int = 600) -> str:
    """A student's text as one line of printable characters, and not a long one."""
    line = " ".join(str(text)[: 4 * most].split())
    return "".join(c for c in line if c.isprintable())[:most]
