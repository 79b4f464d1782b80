"""Masks of patches: noise that, sorted, hides random ones, a block or a grid.

A masked autoencoder keeps the tokens whose noise is smallest, so a way of masking is a way of
drawing noise. All take the number of images and the grid (rows, columns) of patches, and return
noise (batch, rows * columns); they use the global random numbers.
"""

import torch
from torch import Tensor


def random_noise(batch: int, grid: tuple[int, int]) -> Tensor:
    """Every set of patches is as likely to be hidden as any other of the same size."""
    return torch.rand(batch, grid[0] * grid[1])


def block_noise(batch: int, grid: tuple[int, int]) -> Tensor:
    """Hides a square around a random patch, cut off where the image ends.

    The patches nearest to the centre, by the larger of the distances in rows and columns, get the
    largest noise. A simpler block than BEiT's (H. Bao et al., 2022), which is several rectangles.
    """
    rows, columns = grid
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    centre = (torch.rand(batch, 2) * torch.tensor(grid)).floor()  # (batch, 2)
    away = torch.maximum((row - centre[:, :1]).abs(), (column - centre[:, 1:]).abs())
    return torch.rand(batch, rows * columns) - away  # ties are settled by chance


def grid_noise(batch: int, grid: tuple[int, int]) -> Tensor:
    """Keeps one patch of every 2 x 2 first: the same regular grid in every image.

    At a mask ratio of 0.75 this is the "grid" of K. He et al., "Masked Autoencoders Are Scalable
    Vision Learners" (CVPR 2022), figure 6.
    """
    rows, columns = grid
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    kept_last = ((row % 2 != 0) | (column % 2 != 0)).float()
    return torch.rand(batch, rows * columns) + kept_last
