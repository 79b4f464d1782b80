"""Examples that visible checks ask: as committed, drawn from the judges as they are."""

import json

import pytest

from labsupport.answers import examples
from labsupport.answers.examples import load_examples
from labsupport.answers.wire import decode, encode
from labsupport.course.source import find_labs, read_lab
from labsupport.grading.judging.examples import examples_of
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.judging.lab_code import namespace_of
from tests.conftest import ROOT

SOURCES = find_labs(ROOT / "solutions")


@pytest.fixture(scope="module", params=SOURCES, ids=lambda path: path.stem)
def key(request):
    return AnswerKey(read_lab(request.param))


def test_committed_examples_are_those_of_the_judges(key, monkeypatch):
    fresh = json.loads(json.dumps(examples_of(key)))
    for exercise in key.lab.exercises:
        kept = load_examples(key.lab.stem, exercise)
        about = fresh[exercise]
        assert (kept.driver, kept.names, kept.parts) == (
            about["driver"],
            about["names"],
            about["parts"],
        ), "run: labs build"
        for ours, theirs in zip(kept.expected, about["expected"], strict=True):
            assert kept.rules.compare(decode(ours["answer"]), decode(theirs["answer"])) is None
        assert [m.text for m in kept.mistakes] == [text for text, _ in about["mistakes"]]


def test_no_answer_that_a_student_is_graded_by_is_among_them(key):
    """Other numbers: of what a student is asked, not everything is an example."""
    for exercise in key.lab.exercises:
        kept = load_examples(key.lab.stem, exercise).inputs
        asked = decode(key.challenge(exercise, "a student").text)["cases"]
        same = [encode(one) == encode(other) for one, other in zip(kept, asked, strict=False)]
        assert not all(same), exercise


def test_the_solution_passes_every_example_and_nothing_solved_none(key):
    names = namespace_of(key.lab)
    for exercise in key.lab.exercises:
        found = load_examples(key.lab.stem, exercise).ask(names)
        assert [f.text for f in found if f.status != "passed"] == []
        nothing = load_examples(key.lab.stem, exercise).ask({})
        assert all(f.status != "passed" for f in nothing)


def test_every_check_asks_them(key):
    for exercise in key.lab.exercises:
        check = key.lab.one("check", exercise).source
        assert f'check.cases("{key.lab.number}", globals())' in check


def test_a_lab_without_examples_says_how_they_are_made():
    with pytest.raises(FileNotFoundError, match="run 'labs build 42'"):
        examples.load_examples("42", "anything")
