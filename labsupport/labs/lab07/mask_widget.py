"""A widget that hides as much of an image as one wants, and shows what a network makes of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport.notebook.plot.images import pixels
from labsupport.notebook.widgets import (
    Drawn,
    Picture,
    Playable,
    choice,
    column,
    drawn,
    row,
    whole_number,
)

# noise (1, tokens) and a mask ratio to what is visible and the repainted image, (3, side, side)
Paint = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def mask_explorer(
    images: Tensor,
    names: Sequence[str],
    paint: Paint,
    draws: Mapping[str, Callable[[int, tuple[int, int]], Tensor]],
    grid: tuple[int, int],
    *,
    ratio: float = 0.75,
) -> Playable:
    """Choose a mask ratio: what is visible of an image, and what a network makes of it.

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

    which = choice("image", [(name, i) for i, name in enumerate(names)])
    kind = choice("hide by", draws)
    percent = whole_number("hidden, %", 5, 95, round(100 * ratio), step=5)
    again = ipywidgets.Button(description="another mask")

    def render() -> Drawn:
        image = images[which.value : which.value + 1]
        hidden = percent.value / 100
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
        return drawn(
            fig,
            f"Three pictures of {captions[2]}: {captions[0]}, hidden by {kind.value}, mask number "
            f"{state['seed'] + 1}; {captions[1]}; and the original.",
        )

    picture = Picture(render())

    def update(*_: Any) -> None:
        picture.show(render())

    def next_mask(_: Any) -> None:
        state["seed"] += 1
        update()

    for control in (which, kind, percent):
        control.observe(update, "value")
    again.on_click(next_mask)
    return Playable(column(row(which, kind, percent, again), picture.widget), picture.shown)
