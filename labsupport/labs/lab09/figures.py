"""Pictures of lab 09: masks, positions, images scale by scale, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import draw_sheet
from labsupport.notebook.plot.style import EDGE, PALETTE, line_of, outlined
from labsupport.notebook.plot.words import counted, curves_in_words, listed, number


def show_mask(
    mask: Tensor, lengths: Sequence[int], names: Sequence[str], *, title: str = ""
) -> None:
    """A mask (tokens, tokens), blue where a row may look, with lines between the blocks."""
    fig, ax = plt.subplots(figsize=(5.8, 5.4), layout="constrained")
    ax.imshow(mask.float(), cmap="Blues", vmin=0, vmax=1.4)
    edges = np.cumsum([0, *lengths])
    for edge in edges:
        ax.axhline(edge - 0.5, color="black", linewidth=0.8)
        ax.axvline(edge - 0.5, color="black", linewidth=0.8)
    middles = (edges[1:] + edges[:-1] - 1) / 2
    ax.set_xticks(middles, names, rotation=90)
    ax.set_yticks(middles, names)
    ax.tick_params(length=0)
    ax.set(xlabel="is looked at", ylabel="looks")
    whole = mask.float().mean().item()
    said = []
    for name, low, high in zip(names, edges, edges[1:]):
        seen = mask[low:high].bool()
        may = [n for n, a, b in zip(names, edges, edges[1:]) if seen[:, a:b].all()]
        some = [
            n for n, a, b in zip(names, edges, edges[1:]) if seen[:, a:b].any() and n not in may
        ]
        parts = f"all of {listed(may)}" if may else ""
        parts += f"{' and ' if may and some else ''}{f'part of {listed(some)}' if some else ''}"
        said.append(f"{name} looks at {parts or 'nothing'}")
    words = f"A square of {len(mask)} tokens, blue where a row may look, {whole:.0%} of it"
    finish(fig, title, f"{words}: {'; '.join(said)}.")


def show_places(
    grids: Mapping[str, tuple[Sequence[int], Sequence[Tensor]]], *, title: str = ""
) -> None:
    """Where the tokens of several scales lie: title -> (scales, coordinates (scale², 2) each)."""
    fig, axes = plt.subplots(
        1, len(grids), figsize=(4.6 * len(grids), 4.6), layout="constrained", squeeze=False
    )
    for ax, (name, (scales, places)) in zip(axes.flat, grids.items()):
        for scale, points, colour, shape in zip(scales, places, PALETTE, "*osD"):
            ax.plot(
                points[:, 1],
                points[:, 0],
                shape,
                color=colour,
                path_effects=outlined(1.2, EDGE),
                markersize=4 + 26 / scale,
                markerfacecolor="none",
                label=f"{scale} × {scale}",
            )
        ax.set(title=name, aspect="equal", xlabel="column", ylabel="row")
        ax.invert_yaxis()
        ax.grid(alpha=0.25)
    axes.flat[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    said = [
        f"{name}: "
        + listed(
            f"{scale} × {scale} from {number(points.min())} to {number(points.max())}"
            for scale, points in zip(scales, places)
        )
        for name, (scales, places) in grids.items()
    ]
    words = (
        "Tokens as marks on a map of rows (down) and columns (across), one kind of mark a scale."
    )
    finish(fig, title, f"{words} They reach, both ways, in {'; '.join(said)}.")


def show_scales(
    steps: Sequence[Tensor],
    captions: Sequence[str],
    names: Sequence[str],
    *,
    title: str = "",
    alt: str = "",
) -> None:
    """Images scale by scale: `steps` are batches (n, 3, h, w), a column each; captions to rows.
    `alt` says what is seen on them."""
    # 1.9 inches for the captions: without them in the width, images shrink below an empty band
    fig, ax = plt.subplots(
        figsize=(1.5 * len(steps) + 1.9, 1.5 * len(captions) + 0.8), layout="constrained"
    )
    images = torch.stack(list(steps), dim=1).flatten(0, 1)  # row by row
    corners = draw_sheet(ax, images, columns=len(steps))
    side = images.shape[-1]
    for (x, y), name in zip(corners, names):
        ax.text(x + side / 2, y - 0.04 * side, name, ha="center", va="bottom", fontsize=10)
    for i, caption in enumerate(captions):
        x, y = corners[i * len(steps)]
        ax.text(
            x - 0.06 * side,
            y + side / 2,
            caption.replace(" on ", "\non "),
            ha="right",
            va="center",
            fontsize=10,
        )
    words = (
        f"{counted(len(captions), 'row')} of images, a caption each: {'; '.join(captions)}. "
        f"Columns: {listed(names)}."
    )
    finish(fig, title, f"{alt} {words}")


def show_residual(
    points: Mapping[str, Sequence[tuple[int, float]]],
    levels: Mapping[str, float],
    *,
    ylabel: str,
    title: str = "",
) -> None:
    """Curves over the steps of the residual diffusion, label -> (steps, value), several values a
    step being runs with other seeds; `levels` are horizontal lines to compare with."""
    fig, ax = plt.subplots(figsize=(8.6, 4.6), layout="constrained")
    drawn = {}
    for i, (label, pairs) in enumerate(points.items()):
        steps = sorted({step for step, _ in pairs})
        means = [np.mean([v for s, v in pairs if s == step]) for step in steps]
        look = line_of(i)
        ax.plot(steps, means, label=label, **look)
        ax.plot(*zip(*pairs), look["marker"], color=EDGE, markersize=3)
        drawn[label] = steps, means
    for (label, level), style in zip(levels.items(), ("--", ":", "-.", (0, (1, 4)))):
        ax.axhline(level, color="black", linestyle=style, linewidth=1.3, label=label)
    steps = sorted({step for pairs in points.values() for step, _ in pairs})
    ax.set(xscale="log", xlabel="steps of the residual diffusion", ylabel=ylabel)
    ax.set_xticks(steps, [str(step) for step in steps])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    told = curves_in_words(drawn, xlabel="steps of the residual diffusion", ylabel=ylabel)
    flat = listed(f"{label} {number(level)}" for label, level in levels.items())
    finish(fig, title, f"{told} Horizontal lines: {flat}.")


def ratio_rows(records: Sequence[Mapping[str, Any]], base: str = "HART") -> list[list[str]]:
    """Rows of a table of `hart_speed` records: name, milliseconds at batch 1, images a second and
    millions of MACs, each with how many times worse than `base` it is."""
    batches = sorted({record["batch"] for record in records})
    found = {(r["system"], r["batch"]): r for r in records}
    small, large = batches[0], batches[-1]
    first, many = found[base, small], found[base, large]
    rows = []
    for name in dict.fromkeys(record["system"] for record in records):
        one, more = found[name, small], found[name, large]
        rows.append(
            [
                name,
                f"{1000 * one['seconds']:.1f} ({one['seconds'] / first['seconds']:.2f} ×)",
                f"{more['images a second']:.1f} "
                f"({many['images a second'] / more['images a second']:.2f} ×)",
                f"{one['macs'] / 1e6:,.0f} ({one['macs'] / first['macs']:.2f} ×)",
            ]
        )
    return rows
