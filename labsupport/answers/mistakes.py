"""Mistakes explained: a known one where it alone gives the same answers, else what is to be seen.

A known mistake is named only where it gives the student's answers in *every* case of the part,
right ones included, and where no other known mistake does. Otherwise what is told is true without
a guess: which cases are right and which are wrong, and how the first wrong answer differs.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labsupport.answers.findings import Finding, Rules
from labsupport.answers.seen_numbers import as_number, seen_in_numbers

MOST_NAMED = 4  # cases named in a message


@dataclass(frozen=True)
class Mistake:
    """A known mistake: what its student is told, and its answers to the cases at hand, None for a
    case in which it gives none."""

    text: str
    answers: Sequence[Any]


def explain(
    findings: Sequence[Finding], rules: Rules, mistakes: Callable[[], Iterable[Mistake]]
) -> list[Finding]:
    """The findings of the cases of an exercise, the first wrong one of each part explained.

    ``mistakes()`` gives the known mistakes with their answers to the same cases, in their order;
    it is asked only where an answer is wrong.
    """
    explained = list(findings)
    for part in dict.fromkeys(f.part for f in findings):
        places = [i for i, f in enumerate(findings) if f.part == part]
        wrong = [i for i in places if findings[i].status != "passed"]
        if not wrong or findings[wrong[0]].status not in ("failed", "error"):
            continue
        first = findings[wrong[0]]
        hint = _known(findings, places, rules, mistakes) if _has_values(findings, wrong) else ""
        if hint:
            explained[wrong[0]] = replace(first, hint=hint, cause="known mistake")
        else:
            said = (_how(first, [findings[i] for i in wrong]), which_cases(findings, places))
            seen = " ".join(f"{one}." for one in said if one)
            explained[wrong[0]] = replace(first, seen=seen)
    return explained


def _how(first: Finding, wrong: Sequence[Finding]) -> str:
    """How the first wrong answer differs; where it is a number, how all of them do."""
    if first.difference is None:
        return ""
    pairs = [
        (as_number(f.difference.answer), as_number(f.difference.expected))
        for f in wrong
        if f.difference is not None
    ]
    if None in pairs[0]:  # no number
        how = first.difference.how()
        others = (f.difference.how() for f in wrong[1:] if f.difference is not None)
        return f"here {how}" if how and any(other != how for other in others) else how
    return seen_in_numbers([(one, right) for one, right in pairs if None not in (one, right)])


def which_cases(findings: Sequence[Finding], places: Sequence[int]) -> str:
    """Which cases of a part are right and which are wrong, in words; "" for a single case."""
    part = [findings[i] for i in places]
    right = list(dict.fromkeys(f.case for f in part if f.status == "passed" and f.case))
    wrong = list(dict.fromkeys(f.case for f in part if f.status != "passed" and f.case))
    if len(part) < 2 or not wrong:
        return ""
    if not right:
        first = next(f for f in part if f.status != "passed")
        says_all = first.difference is None or first.difference.of_form
        return "" if says_all or len(wrong) < 2 else f"Wrong in {_all(len(part))} cases"
    return f"Right: {_listed(right)}. Wrong: {_listed(wrong)}"


def _has_values(findings: Sequence[Finding], wrong: Sequence[int]) -> bool:
    return any(findings[i].difference is not None for i in wrong)


def _known(
    findings: Sequence[Finding],
    places: Sequence[int],
    rules: Rules,
    mistakes: Callable[[], Iterable[Mistake]],
) -> str:
    """What the one known mistake is that gives all of these answers; "" where there is none, or
    more than one."""
    texts = {
        mistake.text
        for mistake in mistakes()
        if all(_agrees(findings[i], mistake.answers[i], rules) for i in places)
    }
    return texts.pop() if len(texts) == 1 else ""


def _agrees(found: Finding, mistaken: Any, rules: Rules) -> bool:
    if found.value is None or mistaken is None:
        return found.value is None and mistaken is None and found.cause in ("raised", "unusable")
    try:
        return rules.alike(found.value, mistaken)
    except Exception:  # what cannot be compared is not the same
        return False


def _all(count: int) -> str:
    return "both" if count == 2 else f"all {count}"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    shown = "; ".join(names[:MOST_NAMED])
    return f"{shown}; and {rest} more" if rest > 0 else shown
