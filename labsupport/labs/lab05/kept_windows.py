"""Windows that are kept, as pictures, and what that costs, as charts: lab 05's figures."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor

from labsupport.notebook.plot.charts import draw_runs
from labsupport.notebook.plot.images import pixels, rows_below
from labsupport.notebook.plot.style import GREY, HEAT, PALETTE, finish

DARK = 0.22  # brightness of a window that is left out


def foreground_share(shows: Tensor, grid: int) -> Tensor:
    """Share of pixels of each of grid x grid windows that show something: (n, grid, grid) from
    (n, height, width), True where something is."""
    return F.adaptive_avg_pool2d(shows.float()[:, None], grid)[:, 0]


def draw(ax: Axes, image: Tensor, keep: Tensor) -> None:
    """Draw `image` (3, height, width) with its grid, dark where `keep` (rows, columns) is False."""
    height, width = image.shape[-2:]
    bright = F.interpolate(keep.float()[None, None], size=(height, width))[0]
    ax.imshow(pixels(image * (DARK + (1 - DARK) * bright)))
    for axis, count, side in (
        (ax.axhline, keep.shape[0], height),
        (ax.axvline, keep.shape[1], width),
    ):
        for i in range(1, count):
            axis(i * side / count - 0.5, color="white", linewidth=0.5, alpha=0.6)
    ax.set(xticks=[], yticks=[])


def show(images: Tensor, rows: Mapping[str, Tensor], *, title: str = "") -> None:
    """Draw `images` (n, 3, height, width) and below each the windows that `rows` keep: label ->
    (n, rows, columns) of True and False; what is left out is dark."""
    fig, axes = rows_below(images, _labels(rows), inches=1.75, margin=(1.4, 0.5))
    for line, keep in zip(axes, rows.values()):
        for ax, image, one in zip(line, images, keep):
            draw(ax, image, one)
    finish(fig, title)


def show_heat(images: Tensor, rows: Mapping[str, Tensor], *, title: str = "") -> None:
    """Draw `images` and below each its maps of importance, label -> (n, rows, columns), every map
    on its own scale."""
    fig, axes = rows_below(images, _labels(rows), inches=1.75, margin=(2.6, 0.5))
    for line, maps in zip(axes, rows.values()):
        for ax, one in zip(line, maps):
            ax.imshow(one.detach().numpy(), cmap=HEAT)
    finish(fig, title)


def curves(
    panels: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]],
    dense: Mapping[str, Sequence[float]],
    *,
    ylabels: Mapping[str, str],
    title: str = "",
) -> None:
    """Quality against sparsity, one panel a task: label -> ratio -> one value a seed.

    Points are means, error bars standard deviations over seeds; `dense` are the values at 0.
    """
    fig, axes = plt.subplots(
        1, len(panels), figsize=(6 * len(panels), 4.4), squeeze=False, layout="constrained"
    )
    for ax, (task, lines) in zip(axes.flat, panels.items()):
        for (label, points), colour in zip(lines.items(), PALETTE):
            runs = {0.0: dense[task], **points}
            draw_runs(ax, [100 * r for r in runs], list(runs.values()), label, colour)
        ax.set(title=task, xlabel="windows skipped, percent", ylabel=ylabels[task], ylim=(0, 100))
        ax.grid(alpha=0.25)
    axes[0, 0].legend(fontsize=10, ncols=2, loc="lower left")
    finish(fig, title)


def trade(
    curves: Mapping[str, Sequence[tuple[float, Sequence[float]]]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
) -> None:
    """Quality against time: label -> (time, one value a seed), with standard deviations."""
    fig, ax = plt.subplots(figsize=(9, 4.8), layout="constrained")
    for (label, points), colour in zip(curves.items(), PALETTE):
        points = sorted(points, key=lambda p: p[0])
        draw_runs(ax, [t for t, _ in points], [runs for _, runs in points], label, colour)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(alpha=0.25)
    ax.legend()
    plt.show()


def search_cloud(
    layouts: Sequence[tuple[float, float]],
    marks: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
) -> None:
    """All layouts as grey dots (time, quality), and some of them marked: label -> dots."""
    fig, ax = plt.subplots(figsize=(9, 4.8), layout="constrained")
    ax.plot(*zip(*layouts), ".", color=GREY, alpha=0.35, markersize=5, label="every layout")
    for (label, dots), colour, shape in zip(marks.items(), PALETTE, "osD^v"):
        ax.plot(
            *zip(*dots), shape, color=colour, label=label, markersize=9, markeredgecolor="white"
        )
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(alpha=0.25)
    ax.legend(loc="lower right")
    plt.show()


def _labels(rows: Mapping[str, Tensor]) -> list[str]:
    return [label.replace(", ", ",\n") for label in rows]
