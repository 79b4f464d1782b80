"""Windows that are kept, as pictures, and what that costs, as charts: lab 05's figures."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import matplotlib.pyplot as plt
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor

from labsupport.notebook.plot.charts import draw_runs
from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.ending import show as show_figure
from labsupport.notebook.plot.images import pixels, rows_below
from labsupport.notebook.plot.style import EDGE, GREY, HEAT, MARKERS, PALETTE
from labsupport.notebook.plot.words import counted, curves_in_words, entitled, number

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


def show(
    images: Tensor, rows: Mapping[str, Tensor], *, title: str = "", things: Tensor | None = None
) -> None:
    """Draw `images` (n, 3, height, width) and below each the windows that `rows` keep: label ->
    (n, rows, columns) of True and False; what is left out is dark. `things` (n, height, width) is
    True where something is: how many of their windows are kept is said."""
    fig, axes = rows_below(images, _labels(rows), inches=1.75, margin=(1.4, 0.5))
    for line, keep in zip(axes, rows.values()):
        for ax, image, one in zip(line, images, keep):
            draw(ax, image, one)
    said = []
    for label, keep in rows.items():
        kept = f"{label}: {keep.float().mean():.0%}"
        if things is not None:
            held = foreground_share(things, keep.shape[-1]) > 0
            kept += f" of all, {keep[held].float().mean():.0%} of those with a thing"
        said.append(kept)
    words = (
        f"{counted(len(images), 'image')}, and below each its windows, those left out dark. "
        f"Windows that are kept, by row: {'; '.join(said)}."
    )
    finish(fig, title, words)


def show_heat(
    images: Tensor, rows: Mapping[str, Tensor], *, title: str = "", things: Tensor | None = None
) -> None:
    """Draw `images` and below each its maps of importance, label -> (n, rows, columns), every map
    on its own scale. `things` (n, height, width) is True where something is: how much larger the
    maps are there is said."""
    fig, axes = rows_below(images, _labels(rows), inches=1.75, margin=(2.6, 0.5))
    for line, maps in zip(axes, rows.values()):
        for ax, one in zip(line, maps):
            ax.imshow(one.detach().numpy(), cmap=HEAT)
    said = [
        f"{label} {number(one.min())} to {number(one.max())}"
        + ("" if things is None else f", on things {_on_things(one, things):.2f} times the rest")
        for label, one in rows.items()
    ]
    words = (
        f"{counted(len(images), 'image')}, and below each its maps of importance, bright is large: "
        f"{'; '.join(said)}."
    )
    finish(fig, title, words)


def _on_things(maps: Tensor, things: Tensor) -> float:
    """The mean of maps where mostly something is, over the mean elsewhere."""
    there = foreground_share(things, maps.shape[-1]) > 0.5
    return (maps[there].mean() / maps[~there].mean()).item()


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
    said = []
    for ax, (task, lines) in zip(axes.flat, panels.items()):
        drawn = {}
        for i, (label, points) in enumerate(lines.items()):
            runs = {0.0: dense[task], **points}
            places = [100 * r for r in runs]
            draw_runs(ax, places, list(runs.values()), label, i)
            drawn[label] = places, [fmean(run) for run in runs.values()]
        said.append(f"{task}, {ylabels[task]}: {curves_in_words(drawn)}")
        ax.set(title=task, xlabel="windows skipped, percent", ylabel=ylabels[task], ylim=(0, 100))
        ax.grid(alpha=0.25)
    axes[0, 0].legend(fontsize=10, ncols=2, loc="lower left")
    words = f"Across: windows skipped, in percent; points are means over seeds. {' '.join(said)}"
    finish(fig, title, words)


def trade(
    curves: Mapping[str, Sequence[tuple[float, Sequence[float]]]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
) -> None:
    """Quality against time: label -> (time, one value a seed), with standard deviations."""
    fig, ax = plt.subplots(figsize=(9, 4.8), layout="constrained")
    drawn = {}
    for i, (label, points) in enumerate(curves.items()):
        points = sorted(points, key=lambda p: p[0])
        times, runs = [t for t, _ in points], [values for _, values in points]
        draw_runs(ax, times, runs, label, i)
        drawn[label] = times, [fmean(values) for values in runs]
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(alpha=0.25)
    ax.legend()
    show_figure(fig, entitled(title, curves_in_words(drawn, xlabel=xlabel, ylabel=ylabel)))


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
    ax.plot(*zip(*layouts), ".", color=GREY, markersize=4, label="every layout")
    for (label, dots), colour, shape in zip(marks.items(), PALETTE, MARKERS[1:] + MARKERS[:1]):
        look = {"markersize": 9, "markeredgecolor": EDGE, "markeredgewidth": 0.9}
        ax.plot(*zip(*dots), shape, color=colour, label=label, **look)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(alpha=0.25)
    ax.legend(loc="lower right")
    said = [
        f"{label} {counted(len(dots), 'dot')}, the best {number(max(q for _, q in dots))} at "
        f"{number(max(dots, key=lambda dot: dot[1])[0])}"
        for label, dots in {"every layout": layouts, **marks}.items()
    ]
    words = f"Up: {ylabel}; across: {xlabel}. Dots: {'; '.join(said)}."
    show_figure(fig, entitled(title, words))


def _labels(rows: Mapping[str, Tensor]) -> list[str]:
    return [label.replace(", ", ",\n") for label in rows]
