"""Pictures of lab 10's captions: read, drawn, and found by the codes of an image alone."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import draw_row, draw_sheet, rows_of_axes
from labsupport.notebook.plot.style import (
    EDGE,
    GREEN,
    GREY,
    HEAT,
    SKY,
    bar_of,
    frame_of,
    ink,
    ticked,
)
from labsupport.notebook.plot.words import counted, number


def in_lines(caption: str) -> str:
    """A caption in two lines, the ground in the second."""
    return caption.replace(" on ", "\non ")


def show_both(
    seen: Tensor, said: Sequence[str], asked: Sequence[str], drawn: Tensor, *, title: str = ""
) -> None:
    """What one model reads and draws: images `seen` (n, 3, h, w) with what was `said` of them, and
    below captions that were `asked` for with the images `drawn` (n, 3, h, w)."""
    n = len(seen)
    fig, axes = plt.subplots(2, 1, figsize=(1.75 * n + 0.4, 5.2), layout="constrained")
    for ax, images, words, head in (
        (axes[0], seen, said, "reads: an image, and below it what the model writes"),
        (axes[1], drawn, asked, "draws: a caption, and above it what the model paints"),
    ):
        side = images.shape[-1]
        for (x, y), text in zip(draw_sheet(ax, images, columns=n), words):
            ax.text(
                x + side / 2, y + 1.04 * side, in_lines(text), ha="center", va="top", fontsize=10
            )
        ax.set_ylim(1.42 * side, 0)
        ax.set_title(head, fontsize=12, loc="left")
    words = (
        f"Above: {counted(n, 'sticker')}, of which the model writes: {'; '.join(said)}. "
        f"Below: {counted(len(drawn), 'image')} that it draws for: {'; '.join(asked)}."
    )
    finish(fig, title, words)


def show_pairs(same: Tensor, other: Tensor, level: float, *, title: str = "") -> None:
    """Cosines of pairs of image and caption: of the `same` sticker and of `other` ones; `level` is
    the cosine at which the model is undecided."""
    fig, ax = plt.subplots(figsize=(8.4, 3.8), layout="constrained")
    bins = np.linspace(-1, 1, 41)
    for i, (name, cosines) in enumerate(
        (("caption of another image", other), ("caption of the image", same))
    ):
        shares = np.histogram(cosines.numpy(), bins=bins)[0] / len(cosines)
        look = bar_of(i, (SKY, GREEN)[i])
        ax.bar(bins[:-1], 100 * shares, width=0.05, align="edge", alpha=0.75, label=name, **look)
    ax.axvline(level, color=EDGE, linestyle="--", label="as likely as not")
    ax.set(xlabel="cosine of image and caption", ylabel="percent of the pairs of its kind")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    words = (
        f"Bars of how often a cosine occurs. Pairs that belong together: {number(same.median())} "
        f"in the middle; others: {number(other.median())}. As likely as not is {number(level)}; "
        f"{float((same > level).double().mean()):.0%} of the right pairs are above it and "
        f"{float((other > level).double().mean()):.1%} of the others."
    )
    finish(fig, title, words)


def show_scores(
    scores: Tensor, images: Tensor, captions: Sequence[str], *, title: str = ""
) -> None:
    """`scores` (captions, images) as numbers on colours, with the images (n, 3, h, w) above."""
    fig, ax = plt.subplots(
        figsize=(1.05 * len(images) + 3.2, 0.72 * len(captions) + 1.8), layout="constrained"
    )
    low, high = float(scores.min()), float(scores.max())
    ax.imshow(scores.numpy(), cmap=HEAT, vmin=low, vmax=high, aspect="auto")
    for i, row in enumerate(scores.tolist()):
        for j, value in enumerate(row):
            shade = plt.get_cmap(HEAT)((value - low) / max(high - low, 1e-9))
            bold = "bold" if value == max(row) else "normal"
            ax.text(
                j, i, f"{value:.2f}", ha="center", va="center", color=ink(shade[:3]), weight=bold
            )
    for j, image in enumerate(images):
        small = ax.inset_axes((j / len(images) + 0.02, 1.03, 1 / len(images) - 0.04, 0.26))
        draw_row([small], image[None])
        small.axis("off")
    ax.set_yticks(range(len(captions)), captions)
    ax.set_xticks([])
    own = int((scores.argmax(dim=1) == torch.arange(len(scores))).sum())
    words = (
        f"A table of {counted(len(captions), 'caption')} (rows) and {counted(len(images), 'image')}"
        f" (columns) with their cosines, from {number(low)} to {number(high)}; {own} of "
        f"{len(scores)} rows have their largest number, in bold, at their own image."
    )
    finish(fig, title, words)


def show_found(
    captions: Sequence[str], images: Tensor, right: Tensor, words: int, *, title: str = ""
) -> None:
    """The images found for each of `captions`, (captions, n, 3, h, w), the nearest first; `right`
    (captions, n) is how many of the caption's `words` are true of them."""
    fig, axes = rows_of_axes(
        [in_lines(caption) for caption in captions], images.shape[1], inches=1.35, margin=(2.2, 0.6)
    )
    for line, found, counts in zip(axes, images, right.tolist()):
        draw_row(line, found)
        for ax, count in zip(line, counts):
            side = found.shape[-1]
            whole = count == words
            ax.add_patch(
                Rectangle(
                    (-0.5, -0.5),
                    side,
                    side,
                    **frame_of(GREEN if whole else GREY, 3.0 if whole else 1),
                )
            )
            ax.set_title(ticked(whole, f"{count} of {words}"), fontsize=10)
    first = sum(row[0] == words for row in right.tolist())
    told = (
        f"{counted(len(captions), 'row')} of images found for a caption, the nearest first; above "
        f"each, how many of the {words} words are true of it. In {first} of {len(captions)} rows "
        "all words are true of the first image."
    )
    finish(fig, title, told)
