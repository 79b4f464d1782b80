"""Pictures of images that are rebuilt scale by scale, and of how codes are used."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from torch import Tensor

from labsupport.notebook.plot.ending import finish, show
from labsupport.notebook.plot.images import pixels
from labsupport.notebook.plot.style import BLUE, HEAT, ORANGE, RED, line_of
from labsupport.notebook.plot.words import (
    counted,
    curves_in_words,
    entitled,
    listed,
    number,
    rows_of_images,
)


def show_rows(
    rows: Mapping[str, Tensor],
    titles: Sequence[str] = (),
    *,
    title: str = "",
    inches: float = 1.3,
    alt: str = "",
) -> None:
    """Draw `rows`, label -> images (n, 3, height, width) in [0, 1], below one another; `titles`
    stand over the columns. `alt` says what is seen on them."""
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
    words = f"{alt} {rows_of_images(rows)}."
    finish(fig, title, words + (f" Columns: {listed(titles)}." if titles else ""))


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
    drawn = {}
    for i, (label, values) in enumerate(curves.items()):
        shown = np.asarray(values, dtype=float)
        width = min(smooth, len(shown))
        shown = np.convolve(shown, np.ones(width) / width, mode="valid")
        places = np.arange(len(shown)) + width
        ax.plot(places, shown, **line_of(i, markers=False))
        drawn[label] = places, shown
        ax.annotate(
            label,
            (places[-1], shown[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
        )
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title, yscale="log" if log else "linear")
    if log:  # 0.05, 0.1, 0.2 in the place of powers
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
    ax.grid(alpha=0.25)
    over = f" (mean of {smooth} steps)" if smooth > 1 else ""
    show(fig, entitled(title, curves_in_words(drawn, xlabel=xlabel, ylabel=ylabel + over)))


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
    said = []
    for ax, (label, chosen), colour in zip(axes.flat, counts.items(), (RED, BLUE)):
        share = 100 * chosen.sort(descending=True).values / chosen.sum()
        never = int((chosen == 0).sum())
        said.append(
            f"{label}: the most used code has {number(share[0])} percent, the median one "
            f"{number(share[len(share) // 2])}; {never} of {len(share)} are never chosen"
        )
        ax.bar(range(len(share)), share.numpy(), width=1.0, color=colour)
        ax.set(
            title=label,
            xlabel="codes, the most used first",
            yscale="log",
            xlim=(-2, len(share) + 1),
        )
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes[0, 0].set_ylabel("percent of all tokens")
    words = "Bars, a code each, the most used first; up: percent of all tokens, logarithmic."
    finish(fig, title, f"{words} {'. '.join(said)}.")


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
    ax.plot(places[:-1], psnr, **line_of(0, BLUE))
    ax.plot(places[-2:], [psnr[-1], hybrid], **line_of(1, ORANGE))
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
    said = listed(f"{scale} × {scale} {value:.1f}" for scale, value in zip(scales, psnr))
    words = (
        f"Up: PSNR in dB; across: the scales, coarse to fine. {said}. A dashed line leads on to "
        f"{hybrid:.1f} with the residual tokens."
    )
    show(fig, entitled(title, words))


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
    said = listed(
        f"{label} {number(maps.mean())} on average, at most {number(maps.max())}"
        for label, maps in rows.items()
    )
    words = (
        f"{counted(len(images), 'image')}, and below each maps of the length of a vector at every "
        f"place, bright is long, all on one scale: {said}."
    )
    finish(fig, title, words)
