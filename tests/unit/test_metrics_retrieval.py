"""Shares of right answers, and ties."""

import pytest
import torch

from labsupport.metrics.retrieval import better, top1


def test_shares_count_the_diagonal_and_ties_half():
    assert top1(torch.tensor([[2.0, 1], [3, 1]])) == 0.5
    first, second = torch.tensor([1.0, 2, 3, 4]), torch.tensor([0.0, 2 + 1e-7, 4, 3])
    assert better(first, second) == pytest.approx(2.5 / 4)
