"""Tolerances: whatever a judge of a lab says about them arrives in the comparison."""

import copy
import itertools
import math
from dataclasses import fields

import pytest
import torch

from labsupport.answers.respond import driver_names
from labsupport.answers.tolerance import Tolerance
from labsupport.answers.wire import decode, encode
from labsupport.course.source import find_labs, read_lab
from labsupport.grading.judging.cases import Case, randn
from labsupport.grading.judging.diagnosis import Catalogue
from labsupport.grading.judging.judge import AnswerKey
from tests.conftest import ROOT

OK = {"passed"}
USUAL = {"rtol": 1e-4, "atol": 1e-5, "float64": None}


@pytest.fixture(scope="module", params=find_labs(ROOT / "solutions"), ids=lambda p: p.stem)
def key(request):
    return AnswerKey(read_lab(request.param))


def stated(cell):
    """What a judge's code says when it is run, read by nobody else; with what is usual else."""
    names = driver_names() | {"Case": Case, "randn": randn, "Tolerance": dict}
    exec(cell.source, names)
    return USUAL | dict(names.get("tolerance", {}))


def leaves(value, place=()):
    """(where, kind, value) of every number in an answer that may differ a little."""
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in pairs:
            yield from leaves(item, (*place, name))
    elif isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex()):
        if value.isfinite().any():
            double = value.dtype in (torch.float64, torch.complex128)
            yield place, "float64" if double else "tensor", value
    elif isinstance(value, float):
        yield place, "number", value


def moved(value, place, share, rtol, atol, largest):
    """An answer whose number at ``place`` is moved by a share of what is allowed; of a tensor, the
    smallest or the ``largest`` number, at which ``atol`` or ``rtol`` shows."""
    if place:
        items = dict(value) if isinstance(value, dict) else list(value)
        items[place[0]] = moved(value[place[0]], place[1:], share, rtol, atol, largest)
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, float):
        return value + share * (atol + rtol * abs(value))
    size = value.abs().flatten()
    finite = size.isfinite()
    size = size.where(finite, -1.0 if largest else math.inf)
    at = size.argmax() if largest else size.argmin()
    value = value.clone()
    value.view(-1)[at] += share * (atol + rtol * size[at].item())
    return value


def test_what_a_judge_says_of_tolerance_arrives_in_the_comparison(key, monkeypatch):
    """A number at nine tenths of the stated distance from the right one is right; further off
    than stated by a fifth, wrong."""
    assert [f.name for f in fields(Tolerance)] == list(USUAL)  # else this test lags behind
    monkeypatch.setattr(Catalogue, "mistakes", lambda *about: iter(()))  # no diagnosis is wanted
    for cell in key.lab.of("judge"):
        told = stated(cell)
        challenge = key.challenge(cell.name, "tolerance")
        expected = key.expected(challenge)
        tried = set()
        for index, answer in enumerate(expected):
            right = decode(answer["answer"])
            for place, kind, _ in leaves(right):
                if kind in tried:
                    continue
                tried.add(kind)
                rtol, atol = told["rtol"], told["atol"]
                if kind == "float64" and told["float64"] is not None:
                    rtol = atol = told["float64"]
                ways = itertools.product(((0.9, OK), (1.2, OK | {"failed"})), (False, True))
                for (share, wanted), largest in ways:
                    near = moved(right, place, share, rtol, atol, largest)
                    answers = copy.deepcopy(expected)
                    answers[index]["answer"] = encode(near)
                    response = {"nonce": challenge.nonce, "answers": answers}
                    found = {f.status for f in key.findings(challenge, response)} | OK
                    assert found == wanted, f"{cell.name}: {kind} at {place}, {share} of it"
        assert told == USUAL or tried, f"{cell.name} says a tolerance, and nothing is compared"
        if told["float64"] is not None:
            assert "float64" in tried, f"{cell.name}: no answer is float64"
