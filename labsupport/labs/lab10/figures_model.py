"""Pictures of lab 10's unified model: order of codes, what is read, what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import draw_sheet, pixels
from labsupport.notebook.plot.style import BLUE, EDGE, GREY, ORANGE, bar_of, ticked
from labsupport.notebook.plot.words import counted, listed

Answers = Mapping[str, Sequence[tuple[str, float]]]  # a question to words and probabilities


def show_order(depth: int, places: int, shown: int = 5, *, title: str = "") -> None:
    """In which order the codes of an image are drawn: a step of the trunk for each of `places`, of
    which the first few are `shown`, and above it `depth` steps of the depth transformer."""
    shown = min(shown, places)
    fig, ax = plt.subplots(figsize=(1.75 * shown + 1.6, 0.62 * depth + 2.3), layout="constrained")
    for place in range(shown):
        x = 1.6 * place
        ax.add_patch(Rectangle((x, 0), 1.25, 0.8, facecolor=BLUE, edgecolor=EDGE))
        ax.text(x + 0.625, 0.4, f"trunk\n{place + 1}", ha="center", va="center", color="white")
        told = "<image start>" if place == 0 else f"sum of place {place}"
        ax.text(x + 0.625, -0.2, told, ha="center", va="top", fontsize=10)
        for d in range(depth):
            y = 1.15 + 0.62 * d
            ax.add_patch(Rectangle((x + 0.2, y), 0.85, 0.5, facecolor=ORANGE, edgecolor=EDGE))
            ax.text(x + 0.625, y + 0.25, f"{place * depth + d + 1}", ha="center", va="center")
        ax.add_patch(_arrow((x + 0.625, 0.8), (x + 0.625, 1.15)))
        if place + 1 < shown:
            ax.add_patch(_arrow((x + 1.25, 0.4), (x + 1.6, 0.4)))
            # what all codes of a place add up to goes into the next step of the trunk
            gap, top = x + 1.42, 1.4 + 0.62 * (depth - 1)
            for d in range(depth):
                y = 1.4 + 0.62 * d
                ax.plot([x + 1.05, gap], [y, y], color=GREY, linewidth=1)
            ax.plot([gap, gap], [top, 1.02], color=GREY, linewidth=1)
            ax.add_patch(_arrow((gap, 1.02), (x + 1.72, 0.8)))
    if shown < places:
        ax.text(1.6 * shown, 0.4, f"… {places}", va="center", fontsize=12)
    for d in range(depth):
        ax.text(-0.15, 1.4 + 0.62 * d, f"code {d + 1}", ha="right", va="center", fontsize=10)
    ax.set(xlim=(-0.9, 1.6 * shown + 0.6), ylim=(-0.6, 1.25 + 0.62 * depth))
    ax.axis("off")
    words = (
        f"A row of {counted(places, 'step')} of the trunk, of which {shown} are drawn, and above "
        f"each a column of {counted(depth, 'step')} of the depth transformer. Codes are numbered "
        "column by column, from the bottom up: place 1 has codes 1 to "
        f"{depth}, place 2 has {depth + 1} to {2 * depth}. The codes of a column are joined, "
        "and an arrow leads from them into the next step of the trunk."
    )
    finish(fig, title, words)


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> FancyArrowPatch:
    return FancyArrowPatch(
        start, end, arrowstyle="-|>", mutation_scale=11, color=GREY, shrinkA=0, shrinkB=0
    )


def show_captions(
    images: Tensor, said: Sequence[str], right: Sequence[bool], columns: int = 6, *, title: str = ""
) -> None:
    """Images (n, 3, h, w) and below each what a model said of it, ✓ or ✗ in front."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    fig, ax = plt.subplots(figsize=(2.1 * columns, 2.5 * rows + 0.4), layout="constrained")
    lines = [
        ticked(ok, words.replace(" on ", "\non ")) for words, ok in zip(said, right, strict=True)
    ]
    side = images.shape[-1]
    ax.set(xlim=(0, columns * 1.1 * side), ylim=(rows * 1.42 * side, 0), aspect="equal")
    ax.axis("off")
    for i, (image, line) in enumerate(zip(images, lines, strict=True)):
        x, y = i % columns * 1.1 * side, i // columns * 1.42 * side
        ax.imshow(pixels(image), extent=(x, x + side, y + side, y))
        ax.text(x + side / 2, y + 1.04 * side, line, ha="center", va="top", fontsize=10)
    ax.set(xlim=(0, columns * 1.1 * side), ylim=(rows * 1.42 * side, 0))
    told = listed(f"“{words}” ({'right' if ok else 'wrong'})" for words, ok in zip(said, right))
    finish(fig, title, f"{counted(len(images), 'picture')} and what was said of them: {told}.")


def draw_answers(ax: Axes, answers: Answers) -> None:
    """Bars of the likeliest words for each question, into `ax`."""
    at, marks, names = 0.0, [], []
    for i, (question, found) in enumerate(answers.items()):
        ax.text(0, at, f"{question}?", va="center", fontsize=10, fontweight="bold")
        for word, share in found:
            at += 1
            ax.barh(at, share, height=0.72, **bar_of(i))
            ax.text(share + 0.02, at, f"{share:.1%}", va="center", fontsize=10)
            marks.append(at)
            names.append(word)
        at += 1.25
    ax.set_yticks(marks, names, fontsize=10)
    ax.set(xlim=(0, 1.22), ylim=(at - 0.5, -0.6), xticks=[])
    ax.tick_params(length=0)
    ax.spines["bottom"].set_visible(False)


def answers_in_words(answers: Answers) -> str:
    """Each question with its likeliest words: "what is it? fox 98.2%, cat 1.1%"."""
    return "; ".join(
        f"{question}? " + ", ".join(f"{word} {share:.1%}" for word, share in found)
        for question, found in answers.items()
    )


def show_answers(images: Tensor, answers: Sequence[Answers], *, title: str = "") -> None:
    """Images (n, 3, h, w) side by side, and below each the answers to questions about it."""
    fig, axes = plt.subplots(
        2,
        len(images),
        figsize=(3.1 * len(images), 6.2),
        height_ratios=(1, 1.9),
        squeeze=False,
        layout="constrained",
    )
    for (top, below), image, found in zip(axes.T, images, answers, strict=True):
        top.imshow(pixels(image))
        top.axis("off")
        draw_answers(below, found)
    told = " ".join(
        f"Picture {i + 1}: {answers_in_words(found)}." for i, found in enumerate(answers)
    )
    finish(fig, title, f"{counted(len(images), 'picture')}, with bars of probability. {told}")


def show_drawn(
    columns: Mapping[str, Tensor], captions: Sequence[str], *, title: str = "", alt: str = ""
) -> None:
    """Images by caption: `columns` are batches (n, 3, h, w) by name, a row for every caption.
    `alt` says what is seen on them."""
    size = 1.6 * len(columns) + 2.2, 1.6 * len(captions) + 0.8
    fig, ax = plt.subplots(figsize=size, layout="constrained")
    images = torch.stack(list(columns.values()), dim=1).flatten(0, 1)  # row by row
    corners = draw_sheet(ax, images, columns=len(columns))
    side = images.shape[-1]
    ax.set_xlim(left=-1.3 * side)  # room for the captions
    for (x, y), name in zip(corners, columns):
        ax.text(x + side / 2, y - 0.04 * side, name, ha="center", va="bottom", fontsize=10)
    for i, caption in enumerate(captions):
        x, y = corners[i * len(columns)]
        words = caption.replace(" on ", "\non ")
        ax.text(x - 0.06 * side, y + side / 2, words, ha="right", va="center", fontsize=10)
    words = (
        f"{counted(len(captions), 'row')} of images, a caption each: {'; '.join(captions)}. "
        f"Columns: {listed(columns)}."
    )
    finish(fig, title, f"{alt} {words}")
