"""The trusted half: what travels, what is right, what a wrong answer is told."""

import importlib
import pkgutil

import pytest
import torch

from labsupport.answers.compare import difference
from labsupport.answers.respond import LabNamespace, answer_cases, make_driver
from labsupport.answers.tolerance import Tolerance
from labsupport.answers.wire import decode, encode
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.judging.lab_code import driver_source, namespace_of


@pytest.fixture
def key(mini):
    return AnswerKey(mini)


def respond_as(key, exercise, replace=None, seed="a"):
    """The response that a student whose code is ``replace`` would send."""
    challenge = key.challenge(exercise, seed)
    message = decode(challenge.text)
    driver = make_driver(message["driver"], exercise)
    lab = LabNamespace(namespace_of(key.lab, replace))
    answers = answer_cases(driver, lab, message["cases"])
    return challenge, {"nonce": message["nonce"], "answers": answers}


def test_solution_alternatives_and_traps(key):
    for name in key.lab.exercises:
        assert key.verdict(*respond_as(key, name)).status == "passed"
        for cell in key.lab.of("alternative", name):
            assert key.verdict(*respond_as(key, name, {name: cell.source})).status == "passed"
        for cell in key.lab.of("trap", name):
            verdict = key.verdict(*respond_as(key, name, {name: cell.source}))
            assert verdict.status == "failed" and verdict.points == 0
    assert (
        "scaling multiplies"
        in key.verdict(
            *respond_as(key, "scale", {"scale": key.lab.one("trap", "scale").source})
        ).message
    )


def test_a_mistake_upstream_does_not_count_downstream(key):
    wrong = {"scale": key.lab.one("trap", "scale").source}
    assert key.verdict(*respond_as(key, "twice", wrong)).status == "passed"


def test_only_the_driver_travels(key):
    source = driver_source(key.lab.one("judge", "twice").source)
    assert "def drive" in source and "def stand_in" in source and "ask" not in source
    assert "twice(x):" not in source
    text = key.challenge("twice", "a").text
    assert "expected" not in text and "trap" not in text


def test_inputs_differ_by_student_and_not_by_run(key):
    one, again, other = (key.challenge("scale", s) for s in ("a", "a", "b"))
    assert torch.equal(one.cases[1].inputs["x"], again.cases[1].inputs["x"])
    assert not torch.equal(one.cases[1].inputs["x"], other.cases[1].inputs["x"])


def test_forged_and_broken_responses(key):
    challenge, response = respond_as(key, "scale")
    assert key.verdict(challenge, None).status == "missing"
    assert key.verdict(challenge, {**response, "nonce": "0"}).status == "tampered"
    assert key.verdict(challenge, {**response, "answers": []}).status == "tampered"
    assert key.verdict(challenge, {**response, "answers": [1, 2]}).status == "tampered"
    bad = {**response, "answers": [{"answer": "{}"}, {"answer": "{}"}]}
    assert key.verdict(challenge, bad).status == "tampered"


DIFFERENCES = [
    (torch.zeros(2, 3), torch.zeros(3, 2), "has shape (2, 3) instead of (3, 2)"),
    (torch.zeros(2).long(), torch.zeros(2), "is int64 instead of float32"),
    (torch.tensor([0.0, float("nan")]), torch.zeros(2), "holds NaN (50% of its values)"),
    (torch.tensor([0.0, float("inf")]), torch.zeros(2), "infinite"),
    (torch.tensor([0.0, 0.1]), torch.zeros(2), "the values of the result differ"),
    (3, 4, "the value of the result differs"),
    (True, 1, "is a bool, not a number"),
    ([1], [1, 2], "has 1 values instead of 2"),
    ({"a": 1}, {"a": 1, "b": 2}, "missing from the result: b"),
    ({"a": 1, "c": 1}, {"a": 1}, "unknown in the result: c"),
    ({"a": {"b": 2}}, {"a": {"b": 1}}, "the value of b in a differs"),
    ("no", torch.zeros(1), "is a str, not a tensor"),
]


@pytest.mark.parametrize("answer, expected, words", DIFFERENCES)
def test_differences_are_named(answer, expected, words):
    assert words in difference(answer, expected, Tolerance())


SAME = [
    (torch.ones(2).double(), torch.ones(2)),
    (torch.ones(2).half(), torch.ones(2)),
    (torch.ones(2, dtype=torch.int32), torch.ones(2, dtype=torch.int64)),
    ([torch.ones(1), 2], (torch.ones(1), 2)),
    ({"gradient of x": None}, {"gradient of x": torch.zeros(3)}),
]


@pytest.mark.parametrize("answer, expected", SAME)
def test_what_an_answer_is_stored_in_makes_no_difference(answer, expected):
    assert difference(answer, expected, Tolerance()) is None


def test_double_precision_is_asked_only_by_who_says_so():
    rounded, exact = torch.ones(2), torch.ones(2).double()
    assert difference(rounded, exact, Tolerance()) is None
    assert "float32 instead of float64" in difference(rounded, exact, Tolerance(float64=1e-9))
    assert "values" in difference(exact + 1e-7, exact, Tolerance(float64=1e-9))


def test_equal_within_tolerance():
    value = {"a": [torch.ones(3), 1.0], "n": 3, "t": "x"}
    close = {"a": (torch.ones(3) + 1e-6, 1.0 + 1e-6), "n": 3, "t": "x"}
    assert difference(decode(encode(close)), value, Tolerance()) is None


@pytest.mark.parametrize(
    "package",
    ["labsupport.course", "labsupport.grading", "labsupport.grading.judging"]
    + ["labsupport.answers"],
)
def test_a_face_gives_what_it_names(package):
    face = importlib.import_module(package)
    assert face.__all__ == sorted(face.__all__) and "Rooms" in face.__doc__
    for name in face.__all__:
        assert getattr(face, name) is not None
    rooms = {m.name for m in pkgutil.iter_modules(face.__path__)}
    unnamed = {r for r in rooms if f"`{r}`" not in face.__doc__}
    assert not unnamed, unnamed
