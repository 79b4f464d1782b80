"""Pictures of images that are rebuilt scale by scale, and of how codes are used."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from torch import Tensor

from labsupport.notebook.plot.images import draw_sheet, pixels
from labsupport.notebook.plot.style import BLUE, GREY, HEAT, ORANGE, PALETTE, finish
from labsupport.notebook.widgets import Playable, png


def show_rows(
    rows: Mapping[str, Tensor], titles: Sequence[str] = (), *, title: str = "", inches: float = 1.3
) -> None:
    """Draw `rows`, label -> images (n, 3, height, width) in [0, 1], below one another; `titles`
    stand over the columns."""
    columns = max(len(images) for images in rows.values())
    fig, ax = plt.subplots(
        figsize=(inches * columns + 1.6, 1.12 * inches * len(rows) + 0.6), layout="constrained"
    )
    apart = 1.1  # from one image to the next; every image has the side 1
    for i, (label, images) in enumerate(rows.items()):
        ax.text(-0.06, apart * i + 0.5, label, ha="right", va="center", fontsize=11)
        for j, image in enumerate(images):
            ax.imshow(pixels(image), extent=(apart * j, apart * j + 1, apart * i + 1, apart * i))
    for j, name in enumerate(titles):
        ax.text(apart * j + 0.5, -0.04, name, ha="center", va="bottom", fontsize=10)
    ax.set(xlim=(0, apart * columns - 0.1), ylim=(apart * len(rows) - 0.1, 0), aspect="equal")
    ax.axis("off")
    finish(fig, title)


def show_losses(
    curves: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    ylabel: str = "loss",
    xlabel: str = "step",
    smooth: int = 1,
    log: bool = True,
) -> None:
    """Draw a value for every step; with `smooth` above 1, its mean over that many steps."""
    fig, ax = plt.subplots(figsize=(8.5, 3.8), layout="constrained")
    for (label, values), colour in zip(curves.items(), PALETTE):
        shown = np.asarray(values, dtype=float)
        width = min(smooth, len(shown))
        shown = np.convolve(shown, np.ones(width) / width, mode="valid")
        places = np.arange(len(shown)) + width
        ax.plot(places, shown, color=colour)
        ax.annotate(
            label,
            (places[-1], shown[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title, yscale="log" if log else "linear")
    if log:  # 0.05, 0.1, 0.2 in the place of powers
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
    ax.grid(alpha=0.25)
    plt.show()


def show_use(counts: Mapping[str, Tensor], *, title: str = "") -> None:
    """How often each code is chosen, label -> (codes,), the most frequent first; a share of 0 is
    no bar on the logarithmic axis."""
    fig, axes = plt.subplots(
        1,
        len(counts),
        figsize=(5.6 * len(counts), 3.4),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (label, number), colour in zip(axes.flat, counts.items(), (ORANGE, BLUE)):
        share = 100 * number.sort(descending=True).values / number.sum()
        ax.bar(range(len(share)), share.numpy(), width=1.0, color=colour)
        ax.set(
            title=label,
            xlabel="codes, the most used first",
            yscale="log",
            xlim=(-2, len(share) + 1),
        )
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes[0, 0].set_ylabel("percent of all tokens")
    finish(fig, title)


def show_scales(
    psnr: Sequence[float], scales: Sequence[int], hybrid: float, continuous: str, *, title: str = ""
) -> None:
    """PSNR after each scale as steps, and the last one with the residual tokens, named
    `continuous`."""
    fig, ax = plt.subplots(figsize=(9.5, 3.8), layout="constrained")
    totals = [int(total) for total in np.cumsum([scale * scale for scale in scales])]
    labels = [
        f"{scale}×{scale}\n{total} code{'s' if total > 1 else ''}"
        for scale, total in zip(scales, totals)
    ]
    places = range(len(scales) + 1)
    ax.plot(places[:-1], psnr, "o-", color=BLUE)
    ax.plot(places[-2:], [psnr[-1], hybrid], "o--", color=ORANGE)
    for x, y in zip(places, [*psnr, hybrid]):
        ax.annotate(f"{y:.1f}", (x, y), xytext=(-5, 7), textcoords="offset points", ha="right")
    ax.set_xticks(places, [*labels, continuous])
    ax.set(
        ylabel="PSNR, dB",
        title=title,
        ylim=(min(psnr) - 1, hybrid + 2.5),
        xlim=(-0.5, len(scales) + 0.3),
    )
    ax.grid(alpha=0.25, axis="y")
    plt.show()


def show_maps(images: Tensor, rows: Mapping[str, Tensor], *, title: str = "") -> None:
    """`images` (n, 3, h, w) and below each the maps of `rows`, label -> (n, rows, columns), all
    on one scale of colour."""
    top = max(maps.max().item() for maps in rows.values())
    fig, axes = plt.subplots(
        len(rows) + 1,
        len(images),
        squeeze=False,
        layout="constrained",
        figsize=(1.5 * len(images) + 1.8, 1.5 * (len(rows) + 1) + 0.4),
    )
    for ax, image in zip(axes[0], images):
        ax.imshow(pixels(image))
    for line, maps in zip(axes[1:], rows.values()):
        for ax, one in zip(line, maps):
            drawn = ax.imshow(one.detach().numpy(), cmap=HEAT, vmin=0, vmax=top)
    for line, label in zip(axes, ("image", *rows)):
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
        for ax in line:
            ax.set(xticks=[], yticks=[])
    fig.colorbar(drawn, ax=axes[1:, :], shrink=0.7, label="length of the vector")
    finish(fig, title)


def scale_explorer(
    stages: Tensor,
    names: Sequence[str],
    images: Tensor,
    captions: Sequence[str],
    measure: Sequence[Sequence[float]],
) -> Playable:
    """A slider from the coarsest scale to the finest, then the residual; a list of images.

    `stages` (stages, n, 3, h, w) are the pictures after each of `names`, `images` the originals,
    all in [0, 1]; `measure` is the PSNR of each stage and image.
    """
    import ipywidgets

    def render(index: int, stage: int) -> bytes:
        fig = Figure(figsize=(9.6, 3.6), dpi=80, layout="constrained")
        left, middle, right = fig.subplots(1, 3, width_ratios=(1, 1, 1.25))
        left.imshow(pixels(images[index]))
        left.set_title(captions[index], fontsize=11)
        middle.imshow(pixels(stages[stage, index]))
        middle.set_title(f"{names[stage]}: {measure[stage][index]:.1f} dB", fontsize=11)
        values = [row[index] for row in measure]
        right.bar(
            range(len(values)),
            values,
            color=[ORANGE if i == stage else GREY for i in range(len(values))],
        )
        right.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=9)
        right.set(ylabel="PSNR, dB", ylim=(min(values) - 1, max(values) + 1))
        for ax in (left, middle):
            ax.axis("off")
        return png(fig)

    picker = ipywidgets.Dropdown(
        options=[(c, i) for i, c in enumerate(captions)], description="image"
    )
    slider = ipywidgets.SelectionSlider(
        options=[(name, i) for i, name in enumerate(names)],
        value=len(names) - 1,
        description="up to",
        layout=ipywidgets.Layout(width="480px"),
    )
    picture = ipywidgets.Image(value=render(0, len(names) - 1), format="png")

    def changed(_: dict) -> None:
        picture.value = render(picker.value, slider.value)

    picker.observe(changed, "value")
    slider.observe(changed, "value")
    return Playable(ipywidgets.VBox([picker, slider, picture]), _still(stages, names, images))


def _still(stages: Tensor, names: Sequence[str], images: Tensor, most: int = 3) -> bytes:
    columns = len(names) + 1
    fig = Figure(figsize=(1.25 * columns, 1.45 * most), dpi=80, layout="constrained")
    ax = fig.subplots()
    chosen = torch.cat([stages[:, :most], images[None, :most]]).transpose(0, 1).flatten(0, 1)
    draw_sheet(ax, chosen, [*names, "original"] * most, columns)
    return png(fig)
