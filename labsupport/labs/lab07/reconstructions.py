"""Reconstructions: hidden and repainted images."""

from collections.abc import Mapping

import torch
from torch import Tensor

from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import draw_row, rows_of_axes
from labsupport.notebook.plot.words import rows_of_images

COVER = 0.82  # the grey that covers a hidden patch


def hide(images: Tensor, mask: Tensor, patch_size: int) -> Tensor:
    """`images` (n, channels, height, width) in [0, 1] with the patches grey whose entry of `mask`
    (n, tokens), row by row, is 1."""
    rows = images.shape[2] // patch_size
    cover = mask.unflatten(1, (rows, -1)).repeat_interleave(patch_size, 1)
    cover = cover.repeat_interleave(patch_size, 2)[:, None] == 1  # (n, 1, height, width)
    return torch.where(cover, torch.tensor(COVER, dtype=images.dtype), images)


def show_rows(
    rows: Mapping[str, Tensor], *, title: str = "", inches: float = 1.35, alt: str = ""
) -> None:
    """Draw each of `rows` (label -> images (n, 3, height, width) in [0, 1]) as a line of images.

    `alt` says what is seen on them.
    """
    columns = max(map(len, rows.values()))
    fig, axes = rows_of_axes(list(rows), columns, inches=inches, margin=(1.5, 0.6), frames=False)
    for line, images in zip(axes, rows.values()):
        draw_row(line, images)
    finish(fig, title, f"{alt} {rows_of_images(rows)}.")
