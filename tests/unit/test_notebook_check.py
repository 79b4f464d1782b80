"""A visible check must pass right answers silently and explain wrong ones in a few lines."""

import math

import pytest
import torch
from torch import nn

from labsupport.answers.wire import encode
from labsupport.notebook.check import Check
from labsupport.notebook.failures import CheckFailed


def message_of(body) -> str:
    """What the student reads when `body(check)` fails."""
    with pytest.raises(CheckFailed) as caught:
        with Check("exercise", read="section 9") as check:
            body(check)
    return str(caught.value)


def test_a_passed_check_prints_one_line(capsys):
    with Check("patchify") as check:
        check.that(True, "never said")
        check.values([1.0, 2.0], [1.0, 2.0], "two numbers")
    assert capsys.readouterr().out == "patchify: 2 checks passed.\n"


def test_a_failure_says_expected_got_cause_and_where_to_read():
    text = message_of(lambda c: c.values([1, 5], [1, 2], "the counts", likely="off by three"))
    assert text.splitlines() == [
        "exercise: wrong values in the counts",
        "  expected  2 at [1]",
        "  got       5 at [1]",
        "  likely    off by three",
        "  read      section 9",
    ]


def test_the_first_failure_stops_the_check():
    with pytest.raises(CheckFailed, match="first"):
        with Check("exercise") as check:
            check.that(False, "first")
            check.that(False, "second")


def test_a_known_mistake_is_named_rather_than_the_general_hint():
    def body(check):
        check.values(
            [0.9, 0.1],
            [0.75, 0.25],
            "the weights",
            likely="general",
            otherwise={"softmax over queries": [0.75, 0.125], "no scaling": [0.9, 0.1]},
        )

    assert "likely    no scaling" in message_of(body)


def test_a_constant_factor_is_recognised_but_not_for_single_numbers():
    expected = torch.randn(4, 3)
    text = message_of(lambda c: c.values(2 * expected, expected, "the output"))
    assert "every value is 2 times" in text
    assert "times" not in message_of(lambda c: c.values(2.0, 1.0, "the count"))


def test_values_honour_their_tolerance():
    with Check("exercise") as check:
        check.values(1.0 + 5e-6, 1.0, "a number")
    message_of(lambda c: c.values(1.0 + 5e-6, 1.0, "a number", rtol=0, atol=1e-6))
    message_of(lambda c: c.values(5_717_417, 5_717_416, "a count", rtol=0, atol=0.5))


@pytest.mark.parametrize(
    "got, said",
    [
        (torch.zeros(2, 3), "wrong shape"),
        (torch.tensor([math.nan, 0.0, 0.0]), "NaN"),
        (torch.tensor([math.inf, 0.0, 0.0]), "wrong values"),
    ],
)
def test_values_of_the_wrong_kind(got, said):
    assert said in message_of(lambda c: c.values(got, torch.zeros(3), "the output"))


def test_shape_explains_a_missing_return():
    text = message_of(lambda c: c.shape(None, (1, 2), "the tokens"))
    assert "got       NoneType" in text and "return statement is missing" in text
    text = message_of(lambda c: c.shape(torch.zeros(2, 1), (1, 2), "the tokens"))
    assert "expected  (1, 2)" in text and "got       (2, 1)" in text


def test_signature_names_the_arguments():
    def patchify(images, size):
        return images

    text = message_of(lambda c: c.signature(patchify, "images", "patch_size"))
    assert "expected  images, patch_size" in text and "got       images, size" in text
    assert "bound to a int" in message_of(lambda c: c.signature(3, "images"))


def test_an_argument_that_need_not_be_given_is_no_fault():
    def put_back(visible, restore, check=False, *more, **named):
        return visible

    def needs_more(visible, restore, extra):
        return visible

    with Check("exercise") as check:
        check.signature(put_back, "visible", "restore")
    assert "other arguments" in message_of(lambda c: c.signature(needs_more, "visible", "restore"))
    assert "other arguments" in message_of(lambda c: c.signature(put_back, "restore", "visible"))


def test_several_values_are_not_called_a_wrong_shape():
    text = message_of(lambda c: c.values((torch.tensor(1.0), torch.ones(2)), 1.0, "the loss"))
    assert "the loss is a tuple of 2" in text and "one tensor" in text
    assert "return statement" in message_of(lambda c: c.values(None, 1.0, "the loss"))


def test_parameters_find_missing_extra_and_misshapen_names():
    module = nn.Linear(2, 3)
    with Check("exercise") as check:
        check.parameters(module, {"weight": (3, 2), "bias": (3,)})
    text = message_of(lambda c: c.parameters(module, {"weight": (3, 2), "shift": (3,)}))
    assert "lacks the parameter shift" in text and "bias" in text
    assert "too many: bias" in message_of(lambda c: c.parameters(module, {"weight": (3, 2)}))
    text = message_of(lambda c: c.parameters(module, {"weight": (2, 3), "bias": (3,)}))
    assert "weight" in text and "got       (3, 2)" in text


def test_gradient_finds_a_cut_graph_and_an_unused_input():
    x, y = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    with Check("exercise") as check:
        check.gradient(x * y, {"x": x, "y": y})
    assert "no gradient flows" in message_of(lambda c: c.gradient((x * y).detach(), {"x": x}))
    assert "no gradient reaches y" in message_of(lambda c: c.gradient(2 * x, {"x": x, "y": y}))
    zero = message_of(lambda c: c.gradient(x + 0 * y, {"y": y}))
    assert "y does not enter the output" in zero


def test_unchanged_dtype_and_cost():
    before = torch.zeros(2)
    assert "changed its input images" in message_of(
        lambda c: c.unchanged(before + 1, before, "images")
    )
    assert "wrong dtype" in message_of(lambda c: c.dtype(before, torch.float64, "the output"))
    assert "at most 10 MACs" in message_of(lambda c: c.cost(11, 10, "attention"))


def test_an_unsolved_exercise_is_no_stack_trace():
    def attention(q):
        raise NotImplementedError

    class MultiHeadAttention(nn.Module):
        def __init__(self):
            super().__init__()
            raise NotImplementedError

    assert message_of(lambda c: attention(1)) == "exercise: attention is not implemented yet."
    with pytest.raises(CheckFailed, match="^multi_head_attention: not implemented yet.$"):
        with Check("multi_head_attention"):
            MultiHeadAttention()


def test_an_exception_shows_the_call_the_error_and_the_students_line():
    cell = "def patchify(images):\n    return images.reshape(7)\n"
    names = {"torch": torch, "Check": Check}
    exec(compile(cell, "<cell 1>", "exec"), names)
    check = "with Check('patchify') as check:\n    got = patchify(torch.zeros(4))\n"
    with pytest.raises(CheckFailed) as caught:
        exec(compile(check, "<cell 2>", "exec"), names)
    text = str(caught.value)
    assert text.startswith("patchify: your code raised RuntimeError: shape '[7]' is invalid")
    assert "in        patchify, line 2 of its cell" in text
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_name_that_does_not_exist_points_to_its_cell():
    with pytest.raises(CheckFailed, match="the name unpatchify does not exist yet"):
        exec(
            compile("with Check('patchify'):\n    unpatchify(1)\n", "<cell>", "exec"),
            {"Check": Check},
        )


def test_a_notebook_shows_the_message_only():
    shown = CheckFailed("patchify: wrong\n  expected  1")._render_traceback_()
    assert len(shown) == 2 and "patchify: wrong" in shown[0] and shown[1] == "  expected  1"


def test_interrupts_are_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        with Check("exercise"):
            raise KeyboardInterrupt


@pytest.fixture
def examples(monkeypatch):
    """Two cases of an exercise that doubles, and one known mistake."""
    inputs = [{"x": torch.arange(3.0)}, {"x": torch.ones(2)}]
    answers = [{"answer": encode(2 * case["x"])} for case in inputs]
    squares = [encode(case["x"] ** 2) for case in inputs]
    about = {
        "driver": None,
        "accept": None,
        "tolerance": {},
        "names": ["three numbers", "ones"],
        "parts": ["", ""],
        "inputs": [encode(case) for case in inputs],
        "expected": answers,
        "mistakes": [("You square.", squares)],
    }
    monkeypatch.setattr("labsupport.answers.examples._read", lambda lab: {"double": about})
    return about


def cases_of(function):
    with Check("double") as check:
        check.cases("90", {"double": function})


def test_cases_pass_whatever_a_right_answer_is_stored_in(examples, capsys):
    cases_of(lambda x: 2 * x)
    cases_of(lambda x: (x + x).double())
    assert capsys.readouterr().out == "double: 2 checks passed.\n" * 2


def test_cases_say_which_how_and_why(examples):
    with pytest.raises(CheckFailed) as caught:
        cases_of(lambda x: x**2)
    assert str(caught.value).splitlines() == [
        "double: three numbers: the values of the result differ",
        "  expected  2 at [1]",
        "  got       1 at [1]",
        "  likely    You square.",
    ]
    with pytest.raises(CheckFailed) as caught:
        cases_of(lambda x: 2 * x if len(x) == 2 else -2 * x)
    assert "other sign. Right: ones. Wrong: three numbers." in str(caught.value)


def test_cases_ask_for_inputs_before_values_and_for_an_answer_at_all(examples):
    with pytest.raises(CheckFailed, match="the inputs were changed in place .x.; work on a copy"):
        cases_of(lambda x: x.mul_(3))
    with pytest.raises(CheckFailed, match="not implemented yet"):
        cases_of(stub)
    with pytest.raises(CheckFailed, match="double is not defined in the notebook"):
        with Check("double") as check:
            check.cases("90", {})


def test_each_part_is_asked_twice(examples, monkeypatch):
    """As when it is graded: what is kept between calls shows in a later part too."""
    about = {**examples, "parts": ["a", "b"]}
    monkeypatch.setattr("labsupport.answers.examples._read", lambda lab: {"double": about})
    calls = []

    def forgetful(x):
        calls.append(len(x))
        return 2 * x if calls.count(2) < 2 else 3 * x

    with pytest.raises(CheckFailed, match="b, ones: called twice on the same inputs"):
        cases_of(forgetful)
    assert calls == [3, 3, 2, 2, 2]


def stub(x):
    raise NotImplementedError
