"""Maps: matrices, similarities of positions and attention as pictures."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import draw_sheet, pixels
from labsupport.notebook.plot.style import HEAT, ORANGE, frame_of
from labsupport.notebook.plot.words import listed, number


def compare_maps(
    yours: Any, expected: Any, *, title: str = "", xlabel: str = "", ylabel: str = ""
) -> None:
    """Draw two matrices (rows, columns) on one colour scale, and their difference."""
    yours, expected = _array(yours), _array(expected)
    gap = yours - expected
    low, high = expected.min(), max(expected.max(), expected.min() + 1e-12)
    far = max(np.abs(gap).max(), 1e-12)
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    panels = (
        (yours, HEAT, low, high, "yours"),
        (expected, HEAT, low, high, "expected"),
        (gap, "RdBu_r", -far, far, f"difference, at most {np.abs(gap).max():.2g}"),
    )
    for ax, (values, colours, least, most, label) in zip(axes, panels):
        drawn = ax.imshow(values, cmap=colours, vmin=least, vmax=most, aspect="auto")
        ax.set(title=label, xlabel=xlabel, ylabel=ylabel)
        if ax is not axes[0]:  # the first two have one scale
            fig.colorbar(drawn, ax=axes[:2] if ax is axes[1] else ax, shrink=0.85)
    place = np.unravel_index(np.abs(gap).argmax(), gap.shape)
    words = (
        f"Your matrix, the expected one, both of {gap.shape[0]} × {gap.shape[1]} values from "
        f"{number(low)} to {number(high)}, and their difference: at most {np.abs(gap).max():.2g}, "
        f"at row {place[0]}, column {place[1]}."
    )
    finish(fig, title, words)


def show_maps(
    maps: Sequence[Any],
    titles: Sequence[str] = (),
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    columns: int = 4,
    shared: bool = True,
    ticks: bool = True,
    alt: str = "",
) -> None:
    """Draw matrices side by side; `shared` gives them one colour scale, `ticks` shows indices.

    `alt` says what is seen on them, before their sizes and values.
    """
    maps = [_array(m) for m in maps]
    columns = min(columns, len(maps))
    rows = -(-len(maps) // columns)
    fig, axes = plt.subplots(
        rows,
        columns,
        figsize=(min(3.1 * columns + 0.6, 13), 3.1 * rows),
        squeeze=False,
        layout="constrained",
    )
    limits = {"vmin": min(m.min() for m in maps), "vmax": max(m.max() for m in maps)}
    for i, ax in enumerate(axes.flat):
        if i >= len(maps):
            ax.axis("off")
            continue
        drawn = ax.imshow(maps[i], **(limits if shared else {}))
        ax.set(
            title=titles[i] if i < len(titles) else "",
            xlabel=xlabel,
            ylabel=ylabel if i % columns == 0 else "",
        )
        if not ticks:
            ax.set(xticks=[], yticks=[])
    if shared:
        fig.colorbar(drawn, ax=axes, shrink=0.85)
    said = [
        f"{' '.join(name.split())} ({m.shape[0]} × {m.shape[1]}, {number(np.nanmin(m))} to "
        f"{number(np.nanmax(m))})"
        for name, m in zip([*titles, *[f"map {i}" for i in range(len(titles), len(maps))]], maps)
    ]
    axis = f" Down: {ylabel}; across: {xlabel}." if xlabel and ylabel else ""
    finish(fig, title, f"{alt} Maps, bright is large: {listed(said)}.{axis}")


def similarity_mosaic(positions: Tensor, grid: tuple[int, int]) -> np.ndarray:
    """Cosine similarity of every position with every other, as a map of maps.

    `positions` is (rows * columns, dim). The tile at row r, column c shows how similar position
    (r, c) is to each position of the grid; tiles are one pixel (NaN, drawn white) apart.
    """
    rows, columns = grid
    unit = torch.nn.functional.normalize(positions.detach().float(), dim=-1)
    tiles = (unit @ unit.T).reshape(rows, columns, rows, columns)
    mosaic = np.full((rows * (rows + 1) - 1, columns * (columns + 1) - 1), np.nan)
    for r in range(rows):
        for c in range(columns):
            top, left = r * (rows + 1), c * (columns + 1)
            mosaic[top : top + rows, left : left + columns] = tiles[r, c].numpy()
    return mosaic


def draw_attention(
    ax: Axes, image: Tensor, weights: Tensor, patch_size: int, token: int | None = None
) -> None:
    """Draw `image`, dark where it gets little attention, into `ax`.

    `weights` (rows * columns,) is the attention that each patch receives, on a scale of its own;
    the patch with index `token`, whose attention it is, gets an orange frame.
    """
    height, width = image.shape[-2:]
    shown = pixels(image * brightness(image, weights, patch_size))
    ax.imshow(shown, extent=(0, width, height, 0))
    if token is not None:
        _frame(ax, token, width // patch_size, patch_size)
    ax.axis("off")


def show_attention(
    image: Tensor,
    weights: Tensor,
    tokens: Sequence[int | None],
    patch_size: int,
    titles: Sequence[str],
    *,
    title: str = "",
    columns: int = 5,
    alt: str = "",
) -> None:
    """Draw `image` once for every row of `weights` (rows, patches), darkened by attention.

    `tokens` holds the patch whose attention a row is, or None (the class token's). `alt` says what
    the image shows.
    """
    columns = min(columns, len(weights) + 1)
    lines = -(-(len(weights) + 1) // columns)
    dark = [image * brightness(image, row, patch_size) for row in weights]
    fig, ax = plt.subplots(figsize=(2.3 * columns, 2.65 * lines), layout="constrained")
    corners = draw_sheet(ax, torch.stack([image, *dark]), ["image", *titles], columns)
    for (x, y), token in zip(corners[1:], tokens):
        if token is not None:
            _frame(ax, token, image.shape[-1] // patch_size, patch_size, x, y)
    across = image.shape[-1] // patch_size
    said = "; ".join(
        f"{name}: {attention_in_words(row, across, token)}"
        for name, row, token in zip(titles, weights, tokens)
    )
    words = f"The image, then once for each row of attention, dark where little goes. {said}."
    finish(fig, title, f"{alt} {words}")


def attention_in_words(weights: Tensor, columns: int, token: int | None = None) -> str:
    """Where attention `weights` (patches,) of patch number `token` go, on a grid of so many
    `columns`: to which patch most, and how much to that and its neighbours."""
    share = weights.detach().float() / weights.detach().float().sum().clamp_min(1e-12)
    best = int(share.argmax())

    def place(index: int) -> str:
        return f"row {index // columns}, column {index % columns}"

    rows = torch.arange(len(share)) // columns
    near = (rows - best // columns).abs() <= 1
    near &= (torch.arange(len(share)) % columns - best % columns).abs() <= 1
    most = f"most at {place(best)}" if token != best else "most at itself"
    asked = "" if token is None else f"asked by {place(token)}, "
    return f"{asked}{most} ({share[best]:.0%}, {share[near].sum():.0%} with its neighbours)"


def brightness(image: Tensor, weights: Tensor, patch_size: int) -> Tensor:
    """(1, height, width): 1 where most attention goes, 0.15 where none does."""
    rows, columns = (side // patch_size for side in image.shape[-2:])
    heat = weights.detach().float().reshape(1, rows, columns)
    heat = 0.15 + 0.85 * heat / heat.max().clamp_min(1e-12)
    return heat.repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)


def _frame(ax: Axes, token: int, columns: int, patch_size: int, x: float = 0, y: float = 0) -> None:
    corner = (x + token % columns * patch_size, y + token // columns * patch_size)
    ax.add_patch(Rectangle(corner, patch_size, patch_size, **frame_of(ORANGE)))


def _array(values: Any) -> np.ndarray:
    return torch.as_tensor(values).detach().float().cpu().numpy()
