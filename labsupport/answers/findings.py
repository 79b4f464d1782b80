"""Findings: what came of each case of an exercise, before anybody asks why."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from labsupport.answers.compare import Difference, compare, contents, difference
from labsupport.answers.text import one_line
from labsupport.answers.tolerance import Tolerance
from labsupport.answers.wire import WireError, decode

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
    "known mistake",  # the answers equal a trap's in every case: the hint says which
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

# Why a second call gave another answer, as far as the student's side can tell.
WHY_TWO = {
    "random": ": it draws random numbers, and an answer must not depend on them here",
    "state": ": something is kept from one call to the next (a global variable, a default "
    "argument, an attribute), or random numbers are drawn from a generator of its own",
}


@dataclass(frozen=True)
class Rules:
    """How answers to one exercise are judged: by nearness, or by ``accept(answer, expected)``,
    which returns True or what is wrong."""

    tolerance: Tolerance = Tolerance()
    accept: Callable[[Any, Any], Any] | None = None

    def compare(self, value: Any, expected: Any) -> Difference | None:
        """What is wrong with an answer, None where it is right."""
        if not self.accept:
            return compare(value, expected, self.tolerance)
        # a judge is written for answers that have about the right form
        wrong = contents(value, expected)
        if wrong:
            return Difference(wrong)
        try:
            accepted = self.accept(value, expected)
        except Exception:
            return Difference("the result is not of the form that the exercise asks for")
        return None if accepted is True else Difference(str(accepted or "the answer is not right"))

    def alike(self, one: Any, other: Any) -> bool:
        """Whether two answers are the same mistake: equal within tolerance."""
        return difference(one, other, self.tolerance) is None


@dataclass(frozen=True)
class Finding:
    """What came of one case: ``text`` says what is wrong, in the case named ``case`` if it is a
    matter of the inputs; ``hint`` is the diagnosis, where the mistake is a known one; ``seen`` is
    what else is to be seen, which cases are wrong and how.

    ``value`` is the answer, None where there is none, and ``difference`` where it is wrong: both
    are looked at to explain the mistake and told to nobody.
    """

    part: str
    status: Status = "passed"
    cause: Cause = ""
    text: str = ""
    case: str = ""
    hint: str = ""
    seen: str = ""
    value: Any = field(default=None, compare=False, repr=False)
    difference: Difference | None = field(default=None, compare=False, repr=False)

    @property
    def says_how(self) -> str:
        """What is said of how the answer differs, beyond that it does; "" where nothing is."""
        of_form = self.difference is not None and self.difference.of_form
        return self.seen or (self.text if of_form else "")


def finding(name: str, part: str, answer: Any, expected: dict, rules: Rules) -> Finding:
    """Judge one answer as it came (see ``respond.answer_cases``) by the solution's own."""
    if not isinstance(answer, dict):
        return Finding(part, "tampered", "forged", "the response is malformed")
    if "error" in answer:
        return _error(name, part, answer)
    try:
        value = decode(answer["answer"])
    except (WireError, KeyError, TypeError):
        return Finding(part, "tampered", "forged", "the answer does not decode", name)
    if "again" in answer and "again" not in expected:
        changed = _changes(rules.tolerance, value, answer)
        if changed:
            return Finding(part, "failed", "two results", changed, name, value=value)
    wrong = rules.compare(value, decode(expected["answer"]))
    if wrong is None:
        return Finding(part, case=name, value=value)
    return Finding(
        part, "failed", "not what is right", wrong.text, name, value=value, difference=wrong
    )


def _changes(tolerance: Tolerance, value: Any, answer: dict) -> str | None:
    """What is wrong where a second call on the same inputs gave another answer than the
    first, though the solution's gives the same."""
    if answer["again"] is None:
        return "it works once, and fails when it is called again on the same inputs"
    try:
        differs = difference(decode(answer["again"]), value, tolerance)
    except (WireError, TypeError):
        return "the second answer does not decode"
    if not differs:
        return None
    return "called twice on the same inputs, it gives two results" + WHY_TWO.get(
        str(answer.get("cause")), ""
    )


def _error(name: str, part: str, answer: dict) -> Finding:
    """The finding on a case whose answer says that there is none."""
    kind, text = answer.get("error"), one_line(answer.get("text", ""))
    if kind == "missing":
        missing = f"{text} is not defined in the notebook"
        return Finding(part, "missing", "not solved", missing)
    if kind == "unsolved":
        return Finding(part, "missing", "not solved", "not implemented yet")
    if kind in ("unsendable", "unusable"):
        return Finding(part, "failed", "unusable", text, name)
    if kind == "changed":
        which = f" ({text})" if text else ""
        changed = f"the inputs were changed in place{which}; work on a copy"
        return Finding(part, "failed", "changed inputs", changed, name)
    if kind == "raised":
        return Finding(part, "error", "raised", text, name)
    return Finding(part, "tampered", "forged", "the response is malformed")
