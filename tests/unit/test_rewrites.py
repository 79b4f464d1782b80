"""Rewrites: an answer written otherwise is still that answer, and what is not is told apart."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labsupport.grading.audit.agreement import same
from labsupport.grading.audit.rewrites import CHANGES, rewrites_of
from labsupport.grading.audit.wrappers import WRAPPERS

SOLVED = '''
def weigh(q, k, v):
    """Softmax attention with odds and ends."""
    ### BEGIN SOLUTION
    scores = 2 * q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = scores.softmax(dim=-1)
    x = F.relu(weights @ v).flatten(1).reshape(len(v), -1)
    y = F.normalize(x, dim=-1).square().sum(dim=1) + x.mean(dim=-1) ** 2
    loss = F.mse_loss(x, 3 * x) + F.cross_entropy(x, torch.zeros(len(x)).long())
    return torch.stack([y, y]), (loss, 3)
    ### END SOLUTION
'''
INPUTS = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))


def answer(code):
    import math

    names = {"torch": torch, "F": F, "nn": nn, "math": math}
    exec(code, names)
    return names["weigh"](*INPUTS.clone())


def test_every_kind_is_made_runs_and_agrees():
    right = answer(SOLVED)
    found = dict(rewrites_of(SOLVED))
    assert set(found) == {*CHANGES, *WRAPPERS}
    for kind, code in found.items():
        assert same(answer(code), right), kind


MODULE = """
class Twice(nn.Module):
    def forward(self, x):
        return 2 * x
"""


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_module_is_dressed_too(kind):
    names = {"torch": torch, "nn": nn}
    exec(dict(rewrites_of(MODULE))[kind], names)
    assert same(names["Twice"]()(INPUTS), 2 * INPUTS)


def test_what_does_not_agree():
    one = torch.ones(2, 2)
    assert not same(one + 0.01, one) and same(one + 1e-5, one)
    assert not same(one[0], one) and not same(one.long(), one) and not same(one, one.long())
    assert same(None, torch.zeros(2)) and not same(None, one)
    assert not same([one], [one, one]) and not same({"a": one}, {"b": one})
    assert same(torch.tensor(2.0), 2.0) and not same("2", 2.0) and not same(2.0, 2)


def test_nothing_is_rewritten_in_a_cell_of_numbers():
    assert [kind for kind, _ in rewrites_of("N = 3") if kind in CHANGES] == []
