"""Clicks, boxes and masks on images.

A mask is shown as what it leaves: the rest of the image is dark, and a line goes around it. A
click in the mask is a white plus, one out of it a white cross, both with dark rims.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from labsupport.data.click_scenes import ClickScenes
from labsupport.data.clicks import Clicks
from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import pixels
from labsupport.notebook.plot.style import ORANGE, PALETTE, frame_of, outlined
from labsupport.notebook.plot.words import listed, number

DARK = 0.3  # how bright is what a mask leaves out
MARKS = {1: "P", 0: "X"}  # a plus is in, a cross is out


def draw_prompt(
    ax: Axes,
    points: Sequence[Sequence[float]] = (),
    labels: Sequence[int] = (),
    box: Sequence[float] | None = None,
) -> None:
    """Draw points (x, y) with labels 1 or 0, and a box (left, top, right, bottom), into `ax`."""
    for (x, y), label in zip(points, labels, strict=True):
        ax.plot(x, y, MARKS[label], color="white", markersize=11, markeredgecolor="black")
    if box is not None:
        left, top, right, bottom = box
        ax.add_patch(
            Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **frame_of(ORANGE, 2.2))
        )


def draw_mask(ax: Axes, image: Tensor, mask: Tensor | None = None) -> None:
    """Draw `image` (3, height, width) in [0, 1], dark but for `mask` (height, width), bool."""
    shown = pixels(image)
    if mask is not None:
        inside = mask.numpy()
        shown = np.where(inside[..., None], shown, DARK * shown)
        if inside.any() and not inside.all():
            line = ax.contour(inside, [0.5], colors="white", linewidths=1.6)
            line.set_path_effects(outlined(1.6))
    ax.imshow(shown)
    ax.axis("off")


def show_meanings(
    scenes: ClickScenes, asked: Clicks, rows: Sequence[int], *, title: str = ""
) -> None:
    """Draw the clicks numbered `rows`, a line each: the click, and every mask that it may mean."""
    fig, axes = plt.subplots(
        len(rows), 4, figsize=(8.4, 2.15 * len(rows) + 0.4), squeeze=False, layout="constrained"
    )
    said = []
    for line, row in zip(axes, rows, strict=True):
        image = scenes.images[asked.image[row]]
        draw_mask(line[0], image)
        draw_prompt(line[0], [asked.points[row].tolist()], [1])
        names = []
        masks = asked.all_masks(scenes)[row]
        for ax, mask, node in zip(line[1:], masks, asked.meanings[row].tolist(), strict=True):
            ax.axis("off")
            if node < 0:
                continue
            draw_mask(ax, image, mask)
            names.append(scenes.classes[int(scenes.labels[asked.image[row], node])])
            ax.set_title(names[-1], fontsize=11)
        said.append(f"a click that may mean {' or '.join(names)}")
    finish(fig, title, f"Left the click, right its meanings as masks: {listed(said)}.")


def draw_answers(
    fig: Figure,
    image: Tensor,
    points: Sequence[Sequence[float]],
    labels: Sequence[int],
    masks: Tensor,
    scores: Sequence[float],
    box: Sequence[float] | None = None,
    marker: Sequence[float] | None = None,
) -> str:
    """Draw a prompt and the masks (m, height, width), bool, that answer it, into `fig`.

    `marker` (x, y) is a place where nothing is set yet, a ring. Returns the figure in words.
    """
    fig.set_size_inches(2.5 * (len(masks) + 1), 2.95)
    line = np.atleast_1d(fig.subplots(1, len(masks) + 1))
    fig.subplots_adjust(0.01, 0.01, 0.99, 0.9, wspace=0.04)  # known: laying out takes a while
    draw_mask(line[0], image)
    draw_prompt(line[0], points, labels, box)
    line[0].set_title("the prompt", fontsize=12)
    if marker is not None:
        for colour, width in (("black", 3.4), ("white", 1.6)):
            line[0].plot(*marker, "o", markersize=15, mfc="none", markeredgecolor=colour, mew=width)
    best = int(np.argmax(scores)) if len(scores) else 0
    for i, (ax, mask, score) in enumerate(zip(line[1:], masks, scores, strict=True)):
        draw_mask(ax, image, mask)
        draw_prompt(ax, points, labels, box)
        ax.set_title(f"score {score:.2f}" + (", best" if i == best and len(masks) > 1 else ""))
    said = [f"{share_of(m)} with score {s:.2f}" for m, s in zip(masks, scores, strict=True)]
    words = f"{prompt_in_words(points, labels, box)} Masks: {listed(said) or 'none'}."
    return words if marker is None else "{} The ring is at ({:.0f}, {:.0f}).".format(words, *marker)


def show_answers(
    image: Tensor,
    points: Sequence[Sequence[float]],
    labels: Sequence[int],
    masks: Tensor,
    scores: Sequence[float],
    box: Sequence[float] | None = None,
    *,
    title: str = "",
) -> None:
    """Show what `draw_answers` draws."""
    fig = plt.figure()
    words = draw_answers(fig, image, points, labels, masks, scores, box)
    fig.set_figheight(3.2)
    fig.subplots_adjust(top=0.83)  # for the title
    finish(fig, title, words)


def show_named(image: Tensor, masks: Mapping[str, Tensor], *, title: str = "") -> None:
    """Show `image` and the mask (height, width), bool, that was found for each name."""
    fig, axes = plt.subplots(
        1, len(masks) + 1, figsize=(2.5 * (len(masks) + 1), 2.95), layout="constrained"
    )
    draw_mask(axes[0], image)
    for ax, (name, mask) in zip(axes[1:], masks.items(), strict=True):
        draw_mask(ax, image, mask)
        ax.set_title(f"“{name}”", fontsize=12)
    said = [f"“{name}” {share_of(mask)}" for name, mask in masks.items()]
    finish(fig, title, f"An image, and what is found for each name: {listed(said)}.")


def share_of(mask: Tensor) -> str:
    """How much of the image a mask (height, width) is, and around which point."""
    if not mask.any():
        return "nothing"
    y, x = (place.float().mean().item() for place in mask.nonzero().unbind(1))
    return f"{mask.float().mean().item():.0%} of the image around ({x:.0f}, {y:.0f})"


def prompt_in_words(
    points: Sequence[Sequence[float]], labels: Sequence[int], box: Sequence[float] | None = None
) -> str:
    """A prompt as a sentence."""
    said = [
        f"({x:.0f}, {y:.0f}) {'in' if label else 'out'}"
        for (x, y), label in zip(points, labels, strict=True)
    ]
    framed = [] if box is None else ["a box from ({:.0f}, {:.0f}) to ({:.0f}, {:.0f})".format(*box)]
    clicked = [f"clicks, x and y: {listed(said)}"] if said else []
    return f"A prompt of {' and '.join(clicked + framed) or 'nothing'}."


def show_segments(
    images: Tensor, found: Mapping[str, Sequence[Tensor]], *, title: str = ""
) -> None:
    """Draw `images` (n, 3, height, width), and below each what was found in it.

    `found` maps a label to masks (m, height, width) for each image; every mask gets a number, a
    colour and a line around it, larger ones behind.
    """
    n = len(images)
    fig, axes = plt.subplots(
        len(found) + 1,
        n,
        figsize=(2.3 * n + 1.2, 2.4 * (len(found) + 1)),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, image in zip(axes[0], images, strict=True):
        ax.imshow(pixels(image))
    said = []
    for line, (label, lists) in zip(axes[1:], found.items(), strict=True):
        line[0].text(-0.06, 0.5, label, transform=line[0].transAxes, ha="right", va="center")
        for ax, image, masks in zip(line, images, lists, strict=True):
            _draw_segments(ax, image, masks)
        said.append(f"{label}: {listed(str(len(masks)) for masks in lists)} masks")
    finish(fig, title, f"{n} images and what is found in each. {'; '.join(said)}.")


def _draw_segments(ax: Axes, image: Tensor, masks: Tensor) -> None:
    shown = pixels(image) * 0.55
    for i, mask in enumerate(sorted(masks, key=lambda m: -int(m.sum()))):
        inside = mask.numpy()
        colour = np.array(plt.matplotlib.colors.to_rgb(PALETTE[i % len(PALETTE)]))
        shown[inside] = 0.45 * pixels(image)[inside] + 0.55 * colour
        if inside.any() and not inside.all():
            ax.contour(inside, [0.5], colors="white", linewidths=1)
        y, x = np.nonzero(inside)
        middle = len(x) // 2
        ax.text(
            x[middle],
            y[middle],
            str(i + 1),
            color="white",
            fontsize=9,
            ha="center",
            va="center",
            bbox={"facecolor": "black", "alpha": 0.6, "pad": 0.8, "linewidth": 0},
        )
    ax.imshow(shown)


def show_stairs(logits: Tensor, size: int, *, title: str = "") -> dict[str, Any]:
    """Draw one mask (height, width) of logits enlarged to `size` in both orders.

    Returns how many pixels differ, by name.
    """
    whole = (size, size)
    late = torch.nn.functional.interpolate(logits[None, None], whole, mode="bilinear")[0, 0] > 0
    early = torch.nn.functional.interpolate(
        (logits > 0).float()[None, None], whole, mode="nearest"
    )[0, 0]
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 4.2), layout="constrained")
    for ax, mask, name in zip(
        axes, (early > 0.5, late), ("threshold, then enlarge", "enlarge, then threshold")
    ):
        ax.imshow(mask.numpy(), cmap="gray")
        ax.set(title=name, xticks=[], yticks=[])
    differ = int(((early > 0.5) ^ late).sum())
    words = (
        f"The same logits as a mask of {size} × {size} pixels: left with stairs, right with a "
        f"smooth edge. {number(differ)} pixels differ."
    )
    finish(fig, title, words)
    return {"pixels that differ": differ}
