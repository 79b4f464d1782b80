"""Positions: where a token stands, and whom it may look at.

Rotary positions: text along a line, visual tokens on a grid that any scale shares.

J. Su et al., "RoFormer" (2021) for the line. HART, section 3.2, for the grid: half of the pairs
turn with the row and half with the column, and the coordinates of every scale are stretched to the
largest map, so that tokens which look at the same place of the image get the same angle.

Masks: [text | scale 1 | … | scale K], causal between blocks, open within them. VAR, section 3.2
(the block-wise causal mask); HART, section 3.2, puts the text in front.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

TEXT_BASE = 10_000.0
GRID_BASE = 100.0  # 10,000 leaves most pairs of a map of 8 x 8 without a turn to speak of


def frequencies(pairs: int, base: float) -> Tensor:
    """Radians a step for each of `pairs` pairs, from 1 down towards 1 / base."""
    return base ** (-torch.arange(pairs, dtype=torch.float64) / pairs)


def text_angles(length: int, head_dim: int) -> Tensor:
    """(length, head_dim / 2): the angle of every pair at positions 0, 1, …"""
    positions = torch.arange(length, dtype=torch.float64)
    return (positions[:, None] * frequencies(head_dim // 2, TEXT_BASE)).float()


def grid_coordinates(scale: int, side: float) -> Tensor:
    """(scale²,  2): row and column of the middle of every token of a scale x scale map, row by
    row, in units of a map `side` x `side`, whose first token is at 0. (HART's code takes the
    corners, i / scale · side, so that a coarse token lies towards the upper left of its area.)"""
    middles = (torch.arange(scale, dtype=torch.float64) + 0.5) * side / scale - 0.5
    return torch.cartesian_prod(middles, middles)


def grid_angles(scales: Sequence[int], head_dim: int, side: float, offset: int) -> Tensor:
    """(tokens of all scales, head_dim / 2): rows turn the first half of the pairs, columns the
    second.

    `side` is that of the largest map in training. Given a larger grid, the same `side` places its
    tokens between those known (interpolation); its own side continues beyond them. `offset` is
    added to both coordinates: the length of the text in front.
    """
    if head_dim % 4:
        raise ValueError(f"head_dim={head_dim} must be a multiple of 4: pairs for two coordinates")
    coordinates = torch.cat([grid_coordinates(scale, side) for scale in scales]) + offset
    angles = coordinates[:, :, None] * frequencies(head_dim // 4, GRID_BASE)
    return angles.flatten(1).float()


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn the pairs of x, (batch, heads, tokens, head_dim), by angles (tokens, head_dim / 2), or
    by (batch, tokens, head_dim / 2) where images differ in which tokens they hold. A pair is one
    entry of the first half and its counterpart in the second."""
    if angles.dim() == 3:
        angles = angles[:, None]
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def block_of(lengths: Sequence[int]) -> Tensor:
    """(tokens,): the number of the block that every token belongs to."""
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))


def block_causal_mask(lengths: Sequence[int]) -> Tensor:
    """(tokens, tokens), True where the token of the row may look at the token of the column: at
    those of its own block and of the blocks before it. `lengths` are the blocks' tokens."""
    block = block_of(lengths)
    return block[:, None] >= block[None, :]
