"""Pictures of lab 10's visual tower: images from more and more codes, and the codes themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from torch import Tensor

from labsupport.notebook.plot.charts import draw_runs
from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import draw_row, rows_below, rows_of_axes
from labsupport.notebook.plot.style import EDGE, HEAT, bar_of
from labsupport.notebook.plot.words import counted, curves_in_words, listed, number, rows_of_images


def show_rows(
    rows: Mapping[str, Tensor], titles: Sequence[str] = (), *, title: str = "", alt: str = ""
) -> None:
    """Draw `rows`, label -> images (n, 3, h, w) in [0, 1], below one another; `titles` stand over
    the columns. `alt` says what is seen on them."""
    columns = max(len(images) for images in rows.values())
    fig, axes = rows_of_axes(list(rows), columns, inches=1.25, margin=(1.9, 0.5), frames=False)
    for line, images in zip(axes, rows.values()):
        draw_row(line, images)
    for ax, name in zip(axes[0], titles):
        ax.set_title(name.replace(" on ", "\non "), fontsize=8)  # longer ones meet their neighbour
    words = f"{alt} {rows_of_images(rows)}."
    finish(fig, title, words + (f" Columns: {listed(titles)}." if titles else ""))


def show_lengths(chosen: Sequence[Tensor], *, title: str = "") -> None:
    """How long the codes are that were `chosen` at each depth, a vector of lengths a depth."""
    ends = [float(f(f(lengths) for lengths in chosen)) for f in (min, max)]
    edges = np.geomspace(0.95 * ends[0], 1.05 * ends[1], 25)
    fig, axes = plt.subplots(
        1,
        len(chosen),
        figsize=(3.1 * len(chosen), 3.2),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    said = []
    for d, (ax, lengths) in enumerate(zip(axes.flat, chosen)):
        shares, _ = np.histogram(lengths.numpy(), bins=edges)
        ax.bar(
            edges[:-1], 100 * shares / len(lengths), width=np.diff(edges), align="edge", **bar_of(d)
        )
        ax.axvline(float(lengths.median()), color=EDGE, linestyle="--", linewidth=1.4)
        ax.set(title=f"code {d + 1}", xlabel="length of the code", xscale="log")
        said.append(f"code {d + 1} {number(lengths.median())}")
    axes[0, 0].set_ylabel("percent of the places")
    words = (
        "Bars, a panel for each code of a place; across: the length of the code's vector, "
        "logarithmic; up: percent of the places. A dashed line is the median."
    )
    finish(fig, title, f"{words} Medians: {listed(said)}.")


def show_bits(
    curves: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    ylabel: str = "PSNR, dB",
    title: str = "",
) -> None:
    """Quality against the bits of a place, label -> bits -> a value for every run."""
    fig, ax = plt.subplots(figsize=(8.6, 4), layout="constrained")
    drawn = {}
    for i, (label, points) in enumerate(curves.items()):
        bits = sorted(points)
        draw_runs(ax, bits, [points[b] for b in bits], label, i)
        drawn[label] = bits, [float(np.mean(points[b])) for b in bits]
    ticks = sorted({b for points in curves.values() for b in points})
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [f"{b:g}" for b in ticks])
    ax.minorticks_off()
    ax.set(xlabel="bits a place", ylabel=ylabel)
    ax.grid(alpha=0.25)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    finish(fig, title, curves_in_words(drawn, xlabel="bits a place", ylabel=ylabel))


def show_maps(images: Tensor, rows: Mapping[str, Tensor], *, label: str, title: str = "") -> None:
    """`images` (n, 3, h, w) and below each the maps of `rows`, name -> (n, rows, columns), all on
    one scale of colour, which `label` names."""
    fig, axes = rows_below(images, list(rows), inches=1.5, margin=(2.6, 0.5))
    top = max(float(maps.max()) for maps in rows.values())
    for line, maps in zip(axes, rows.values()):
        for ax, one in zip(line, maps):
            drawn = ax.imshow(one.detach().numpy(), cmap=HEAT, vmin=0, vmax=top)
    fig.colorbar(drawn, ax=axes, shrink=0.8, label=label)
    said = listed(
        f"{name} {number(maps.mean())} on average, at most {number(maps.max())}"
        for name, maps in rows.items()
    )
    words = f"{counted(len(images), 'image')}, and below each maps of its places, bright is much"
    finish(fig, title, f"{words}. {label}: {said}.")
