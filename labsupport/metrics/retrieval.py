"""Retrieval: how often the right one is found, or scored above a wrong one."""

import torch
from torch import Tensor

TIE = 1e-5  # closer scores are equal: two ways to sum the same numbers differ by as much


def top1(scores: Tensor) -> float:
    """Share of rows of `scores` (n, n) whose largest score is on the diagonal, 0 to 1."""
    return (scores.argmax(dim=1) == torch.arange(len(scores))).double().mean().item()


def better(first: Tensor, second: Tensor) -> float:
    """Share of entries in which `first` is larger than `second`; a tie counts half."""
    gap = first.double() - second.double()
    return ((gap > TIE).double() + 0.5 * (gap.abs() <= TIE).double()).mean().item()
