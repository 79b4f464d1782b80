"""Segmentations as pictures: a colour for every class."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import pixels, rows_below
from labsupport.notebook.plot.style import EDGE, GREEN, GREY, PURPLE
from labsupport.notebook.plot.words import counted, listed

# the first four differ in lightness as well, by 20 of 100 at least: they are told apart in grey,
# and stand out from the background by 3 : 1
COLOURS = ("#F7F7F7", "#00588A", "#C97700", EDGE, GREEN, PURPLE)


def paint(classes: Tensor) -> Tensor:
    """Class indices (height, width) as a picture (3, height, width): one colour a class."""
    table = torch.tensor([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS])
    return table[classes].permute(2, 0, 1)


def draw_classes(ax: Axes, classes: Tensor) -> None:
    """Draw class indices (height, width) into `ax`."""
    ax.imshow(pixels(paint(classes)))
    ax.set(xticks=[], yticks=[])


def show_segmentations(
    images: Tensor,
    rows: Mapping[str, Tensor],
    names: Sequence[str],
    *,
    title: str = "",
    alt: str = "",
) -> None:
    """Draw `images` (n, 3, height, width) and below each what `rows` say: label -> (n, h, w).

    `names` are of the classes; the first, the background, is grey. `alt` says what is seen.
    """
    fig, axes = rows_below(images, list(rows), inches=1.65, margin=(1.4, 0.7))
    for line, classes in zip(axes, rows.values()):
        for ax, one in zip(line, classes):
            draw_classes(ax, one)
    for ax in fig.axes:
        for edge in ax.spines.values():
            edge.set(visible=True, color=GREY, linewidth=0.5)
    class_legend(fig, names)
    lines = [f"{' '.join(label.split())}: {shares(one, names)}" for label, one in rows.items()]
    words = f"{counted(len(images), 'scene')}, and below each a class for every pixel."
    finish(fig, title, f"{alt} {words} {'; '.join(lines)}.")


def class_legend(fig: Figure, names: Sequence[str]) -> None:
    """Say below the figure which colour is which class."""
    fig.legend(
        handles=[Patch(facecolor=c, label=name, edgecolor=EDGE) for c, name in zip(COLOURS, names)],
        loc="outside lower center",
        ncols=len(names),
    )


def shares(classes: Tensor, names: Sequence[str]) -> str:
    """How much of a map each class but the first takes, in words."""
    part = [(classes == i).float().mean().item() for i in range(len(names))]
    return listed(f"{name} {value:.1%}" for name, value in list(zip(names, part))[1:])
