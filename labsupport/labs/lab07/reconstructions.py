"""Reconstructions: hidden and repainted images, and a widget that hides as much as one wants."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport.notebook.plot.images import draw_row, pixels, rows_of_axes
from labsupport.notebook.plot.style import finish
from labsupport.notebook.widgets import Playable, png

COVER = 0.82  # the grey that covers a hidden patch

# noise (1, tokens) and a mask ratio to what is visible and the repainted image, (3, side, side)
Paint = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def hide(images: Tensor, mask: Tensor, patch_size: int) -> Tensor:
    """`images` (n, channels, height, width) in [0, 1] with the patches grey whose entry of `mask`
    (n, tokens), row by row, is 1."""
    rows = images.shape[2] // patch_size
    cover = mask.unflatten(1, (rows, -1)).repeat_interleave(patch_size, 1)
    cover = cover.repeat_interleave(patch_size, 2)[:, None] == 1  # (n, 1, height, width)
    return torch.where(cover, torch.tensor(COVER, dtype=images.dtype), images)


def show_rows(rows: Mapping[str, Tensor], *, title: str = "", inches: float = 1.35) -> None:
    """Draw each of `rows` (label -> images (n, 3, height, width) in [0, 1]) as a line of images."""
    columns = max(map(len, rows.values()))
    fig, axes = rows_of_axes(list(rows), columns, inches=inches, margin=(1.5, 0.6), frames=False)
    for line, images in zip(axes, rows.values()):
        draw_row(line, images)
    finish(fig, title)


def mask_explorer(
    images: Tensor,
    names: Sequence[str],
    paint: Paint,
    draws: Mapping[str, Callable[[int, tuple[int, int]], Tensor]],
    grid: tuple[int, int],
    *,
    ratio: float = 0.75,
) -> Playable:
    """A slider of mask ratios: what is visible of an image, and what a network makes of it.

    `images` (n, 3, height, width) in [0, 1]; `paint(images, noise, ratio)` gives the visible and
    the repainted ones. `draws` are ways of masking, see `labsupport.models.masking`. A button
    draws another mask; a larger ratio hides what a smaller one hid and more.
    """
    import ipywidgets

    tokens = grid[0] * grid[1]
    state = {"seed": 0}

    def noise(draw: str) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(state["seed"])
            return draws[draw](1, grid)

    which = ipywidgets.Dropdown(options=[(n, i) for i, n in enumerate(names)], description="image")
    kind = ipywidgets.ToggleButtons(options=list(draws), description="hide by")
    slider = ipywidgets.IntSlider(
        value=round(100 * ratio),
        min=5,
        max=95,
        step=5,
        description="hidden, %",
        continuous_update=True,
    )
    again = ipywidgets.Button(description="another mask")

    def render() -> bytes:
        image = images[which.value : which.value + 1]
        hidden = slider.value / 100
        visible, painted = paint(image, noise(kind.value), hidden)
        kept = int(tokens * (1 - hidden))
        error = (painted - image).square().mean().sqrt().item()
        fig = Figure(figsize=(9.6, 3.7), dpi=80, layout="constrained")
        captions = (
            f"{kept} of {tokens} patches are visible",
            f"painted: wrong by {error:.3f} a pixel",
            names[which.value],
        )
        for ax, one, caption in zip(fig.subplots(1, 3), (visible, painted, image), captions):
            ax.imshow(pixels(one[0]))
            ax.set_title(caption, fontsize=12)
            ax.axis("off")
        return png(fig)

    picture = ipywidgets.Image(value=render(), format="png")

    def update(*_: Any) -> None:
        picture.value = render()

    def next_mask(_: Any) -> None:
        state["seed"] += 1
        update()

    for control in (which, kind, slider):
        control.observe(update, "value")
    again.on_click(next_mask)
    top = ipywidgets.HBox([which, again])
    return Playable(ipywidgets.VBox([top, kind, slider, picture]), picture.value)
