"""Mistakes explained: a cause is named only where nothing else gives the same answers."""

import torch

from labsupport.answers.findings import Rules, finding
from labsupport.answers.mistakes import Mistake, explain
from labsupport.answers.wire import encode

RIGHT = [torch.arange(4.0), 2 * torch.arange(4.0), torch.ones(4)]
NAMES = ["one head", "3 heads", "batch of one"]


def found(values, parts=("", "", "")):
    return [
        finding(name, part, {"answer": encode(value)}, {"answer": encode(right)}, Rules())
        for name, part, value, right in zip(NAMES, parts, values, RIGHT, strict=True)
    ]


def told(values, mistakes, parts=("", "", "")):
    explained = explain(found(values, parts), Rules(), lambda: mistakes)
    return next(f for f in explained if f.status != "passed")


WRONG = [RIGHT[0], -RIGHT[1], RIGHT[2]]


def test_a_mistake_that_gives_every_answer_is_named():
    first = told(WRONG, [Mistake("the sign", WRONG), Mistake("else", [r + 1 for r in RIGHT])])
    assert (first.cause, first.hint, first.seen) == ("known mistake", "the sign", "")


def test_one_that_gives_only_the_wrong_case_is_not():
    """As by q.shape[1] in the place of √d: equal where there is one head, and only there."""
    also = Mistake("no scale at all", [-r for r in RIGHT])
    first = told(WRONG, [also])
    assert first.cause == "not what is right" and not first.hint
    assert first.seen == (
        "every value has the other sign. Right: one head; batch of one. Wrong: 3 heads."
    )


def test_two_that_cannot_be_told_apart_are_not_named():
    twins = [Mistake("this", WRONG), Mistake("that", WRONG)]
    assert told(WRONG, twins).hint == ""
    assert told(WRONG, [twins[0], Mistake("this", WRONG)]).hint == "this"


def test_a_part_is_explained_by_its_own_cases():
    parts = ("a", "b", "b")
    mistake = Mistake("the sign of b", [RIGHT[0] + 5, -RIGHT[1], RIGHT[2]])
    first = told(WRONG, [mistake], parts)
    assert (first.part, first.hint) == ("b", "the sign of b")


def test_an_error_is_no_wrong_value():
    broken = [{"error": "raised", "text": "ValueError: no"}, *map(encode, RIGHT[1:])]
    findings = [
        finding(n, "", a if isinstance(a, dict) else {"answer": a}, {"answer": encode(r)}, Rules())
        for n, a, r in zip(NAMES, broken, RIGHT, strict=True)
    ]
    explained = explain(findings, Rules(), lambda: 1 / 0)  # nobody is asked
    assert explained[0].cause == "raised"
    assert explained[0].seen == "Right: 3 heads; batch of one. Wrong: one head."


def test_numbers_are_explained_over_all_cases():
    rights, names = [3, 7, 20], ["small", "wide", "deep"]
    findings = [
        finding(n, "", {"answer": encode(r + 2)}, {"answer": encode(r)}, Rules())
        for n, r in zip(names, rights, strict=True)
    ]
    first = explain(findings, Rules(), lambda: [])[0]
    assert first.seen == "it is too large, always by the same amount. Wrong in all 3 cases."
    assert first.says_how == first.seen


def test_a_difference_of_form_says_how_by_itself():
    shape = finding(
        "one", "", {"answer": encode(torch.ones(3))}, {"answer": encode(RIGHT[0])}, Rules()
    )
    assert "shape (3,) instead of (4,)" in shape.says_how
    assert finding("one", "", {"answer": encode(2)}, {"answer": encode(1)}, Rules()).says_how == ""


def test_what_is_seen_of_one_case_only_is_said_of_that_case_only():
    values = [-RIGHT[0], RIGHT[1] + 1, RIGHT[2]]
    assert told(values, []).seen.startswith("here every value has the other sign")
    assert told([-RIGHT[0], -RIGHT[1], RIGHT[2]], []).seen.startswith("every value has the other")
