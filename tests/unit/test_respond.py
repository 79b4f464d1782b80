"""The student's side: drivers, stand-ins, and what becomes of errors."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from labsupport.answers.respond import (
    LabNamespace,
    Missing,
    answer_cases,
    fill_parameters,
    make_driver,
)
from labsupport.answers.wire import decode


def answer(function, **inputs):
    driver = make_driver(None, "f")
    return answer_cases(driver, LabNamespace({"f": function} if function else {}), [inputs])[0]


def test_answers_and_errors():
    assert decode(answer(lambda x: x + 1, x=1)["answer"]) == 2
    assert answer(None, x=1)["error"] == "missing"

    def unsolved(x):
        raise NotImplementedError

    def broken(x):
        raise RuntimeError("size mismatch")

    assert answer(unsolved, x=1)["error"] == "unsolved"
    raised = answer(broken, x=1)
    assert raised["error"] == "raised"
    assert raised["text"].startswith("RuntimeError: size mismatch (in broken,")
    assert answer(lambda x: object(), x=1)["error"] == "unsendable"


def test_an_input_that_learns_and_is_changed_in_place_is_said_in_plain_words():
    def drive(lab, x):
        return lab.double(x.requires_grad_())

    def double(x):
        x *= 2
        return x

    (answer,) = answer_cases(drive, LabNamespace({"double": double}), [{"x": torch.ones(2)}])
    assert answer["error"] == "raised" and "work on a copy" in answer["text"]


def test_inputs_changed_in_place_are_noticed():
    assert answer(lambda x: x.mul_(2), x=torch.ones(2))["error"] == "changed"
    assert "answer" in answer(lambda x: x * 2, x=torch.ones(2))


def test_replacing_puts_names_back():
    names = {"a": 1}
    lab = LabNamespace(names)
    with pytest.raises(KeyError), lab.replacing(a=2, b=3):
        assert lab.a == 2 and lab.b == 3
        raise KeyError
    assert names == {"a": 1}
    with pytest.raises(Missing):
        _ = lab.b


def test_fill_parameters_depends_on_names_and_shapes_only():
    one = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    torch.manual_seed(5)
    other = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    fill_parameters(one, 1), fill_parameters(other, 1)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) and a.abs().min() > 0
    fill_parameters(other, 2)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_a_students_kernel_loads_nothing_else_of_grading_and_nothing_of_the_course():
    code = "import sys, labsupport.answers.respond\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "labsupport.answers.respond" in loaded
    assert not [n for n in loaded if n.startswith(("labsupport.grading", "labsupport.course"))]
    assert not {"nbformat", "nbgrader", "jupytext", "yaml"} & loaded
