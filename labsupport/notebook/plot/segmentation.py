"""Segmentations as pictures: a colour for every class."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from torch import Tensor

from labsupport.notebook.plot.images import pixels, rows_below
from labsupport.notebook.plot.style import GREY, PALETTE, finish

COLOURS = ("#EEEEEE", *PALETTE[:1], PALETTE[2], PALETTE[3], PALETTE[1], PALETTE[4])


def paint(classes: Tensor) -> Tensor:
    """Class indices (height, width) as a picture (3, height, width): one colour a class."""
    table = torch.tensor([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS])
    return table[classes].permute(2, 0, 1)


def draw_classes(ax: Axes, classes: Tensor) -> None:
    """Draw class indices (height, width) into `ax`."""
    ax.imshow(pixels(paint(classes)))
    ax.set(xticks=[], yticks=[])


def show_segmentations(
    images: Tensor, rows: Mapping[str, Tensor], names: Sequence[str], *, title: str = ""
) -> None:
    """Draw `images` (n, 3, height, width) and below each what `rows` say: label -> (n, h, w).

    `names` are of the classes; the first, the background, is grey.
    """
    fig, axes = rows_below(images, list(rows), inches=1.65, margin=(1.4, 0.7))
    for line, classes in zip(axes, rows.values()):
        for ax, one in zip(line, classes):
            draw_classes(ax, one)
    for ax in fig.axes:
        for edge in ax.spines.values():
            edge.set(visible=True, color=GREY, linewidth=0.5)
    fig.legend(
        handles=[Patch(facecolor=c, label=name, edgecolor=GREY) for c, name in zip(COLOURS, names)],
        loc="outside lower center",
        ncols=len(names),
    )
    finish(fig, title)
