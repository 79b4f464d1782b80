"""Retrieval, images found by sentences: pictures of it."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from labsupport.data import Batch
from labsupport.metrics.retrieval import better, top1
from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import draw_sheet, pixels
from labsupport.notebook.plot.style import (
    BLUE,
    GREEN,
    HEAT,
    ORANGE,
    RED,
    bar_of,
    frame_of,
    ink,
    line_of,
    ticked,
)
from labsupport.notebook.plot.words import course, listed, number

__all__ = [
    "better",
    "same_things",
    "show_matrix",
    "show_search",
    "show_shares",
    "show_training",
    "top1",
]


def same_things(captions: Sequence[str], batch: Batch) -> Tensor:
    """Does each image of `batch` show the things that each caption names? (captions, images)."""
    from labsupport.data.pairs import split_caption

    def things(caption: str) -> frozenset[str]:
        return frozenset(split_caption(caption)[::2])

    return torch.tensor(
        [[things(c) == things(other) for other in batch.captions] for c in captions]
    )


def show_matrix(
    images: Tensor, captions: Sequence[str], cosines: Tensor, *, title: str = ""
) -> None:
    """Draw `cosines` (captions, images) as squares under `images` (n, 3, height, width)."""
    n = len(images)
    fig, (top, ax) = plt.subplots(
        2, 1, figsize=(10.5, 7.6), height_ratios=(1, n), sharex=True, layout="constrained"
    )
    for i, image in enumerate(images):
        top.imshow(pixels(image), extent=(i - 0.45, i + 0.45, 0, 0.9), aspect="auto")
    top.set(xlim=(-0.5, n - 0.5), ylim=(0, 0.9), aspect="auto")
    top.axis("off")
    shown = ax.imshow(cosines, vmin=min(0.0, cosines.min().item()), aspect="auto", cmap=HEAT)
    for row in range(n):
        for column in range(n):
            value = cosines[row, column].item()
            ax.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=10,
                color=ink(shown.to_rgba(value)[:3]),
            )
        ax.add_patch(Rectangle((row - 0.49, row - 0.47), 0.98, 0.94, **frame_of(ORANGE, 2.5)))
    ax.set_yticks(range(n), captions)
    ax.set_xticks([])
    ax.tick_params(length=0)
    own = cosines.diagonal()
    others = cosines[~torch.eye(n, dtype=torch.bool)]
    first = int((cosines.argmax(1) == torch.arange(n)).sum())
    words = (
        f"A table of cosines, {n} captions down by {n} images across; the diagonal, an image with "
        f"its own caption, is framed. On it {number(own.min())} to {number(own.max())}, mean "
        f"{number(own.mean())}; off it {number(others.min())} to {number(others.max())}, mean "
        f"{number(others.mean())}. For {first} of {n} captions the own image is nearest. "
        f"The captions: {'; '.join(captions)}."
    )
    finish(fig, title, words)


def show_search(
    captions: Sequence[str], batch: Batch, scores: Tensor, *, best: int = 5, title: str = ""
) -> None:
    """Each caption with the `best` images of `batch` by `scores` (captions, images).

    A ✓ and a green frame mean that an image shows just the things that the caption names; the
    others have a ✗ and a red frame.
    """
    right = same_things(captions, batch)
    columns = 2
    rows = -(-len(captions) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(13, 1.95 * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.axis("off")
    told = []
    for ax, caption, row, fits in zip(axes.flat, captions, scores, right):
        found = row.argsort(descending=True)[:best]
        _draw_found(
            ax,
            batch.images[found],
            fits[found].tolist(),
            [f"{value:.2f}" for value in row[found].tolist()],
        )
        ax.set_title(f"“{caption}”", loc="left", fontsize=12)
        told.append(f"{caption}, {int(fits[found].sum())}")
    words = (
        f"For each caption the {best} nearest of {len(batch)} images with their cosines, marked "
        "with a tick where they show just the things that it names. Ticks, of "
        f"{best}: {'; '.join(told)}."
    )
    finish(fig, title, words)


def _draw_found(ax: Axes, images: Tensor, right: Sequence[bool], labels: Sequence[str]) -> None:
    side = images.shape[-1]
    labels = [ticked(good, label) for good, label in zip(right, labels)]
    for corner, good in zip(draw_sheet(ax, images, labels, len(images)), right):
        ax.add_patch(Rectangle(corner, side, side, **frame_of(GREEN if good else RED)))


def show_training(
    loss: Sequence[float], scales: Sequence[float], batch_size: int, *, title: str = ""
) -> None:
    """The loss of every step beside that of guessing, and the scale as it is learned."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    guess = torch.tensor(float(batch_size)).log().item()
    left.plot(loss, color=BLUE)
    left.axhline(guess, color="black", linestyle=":", linewidth=1.2)
    left.text(
        len(loss),
        guess,
        f"guessing: ln {batch_size} = {guess:.2f}",
        ha="right",
        va="bottom",
        fontsize=10,
    )
    left.set(xlabel="step", ylabel="loss, nats", ylim=(0, 1.15 * max(guess, *loss)), title="loss")
    right.plot(scales, **line_of(0, ORANGE, markers=False))
    right.set(xlabel="step", ylabel="exp(logit_scale)", title="learned scale, 1 / temperature")
    for ax in (left, right):
        ax.grid(alpha=0.25)
    steps = range(len(loss))
    words = (
        f"Left, the loss in nats by step: it {course(steps, loss)}; a dotted line at "
        f"{guess:.2f} is what guessing among {batch_size} gives. Right, the learned scale: it "
        f"{course(range(len(scales)), scales)}."
    )
    finish(fig, title, words)


def show_shares(
    shares: Mapping[str, Mapping[str, float]], chance: float, *, title: str = ""
) -> None:
    """Bars of `shares`, net -> test -> share of right answers (0 to 1), in groups of tests."""
    fig, ax = plt.subplots(figsize=(10.5, 4), layout="constrained")
    tests = list(next(iter(shares.values())))
    width = 0.8 / len(shares)
    for k, (name, row) in enumerate(shares.items()):
        places = [i + (k - (len(shares) - 1) / 2) * width for i in range(len(tests))]
        heights = [100 * row[test] for test in tests]
        bars = ax.bar(places, heights, 0.92 * width, label=name, **bar_of(k))
        ax.bar_label(bars, fmt="%.0f", fontsize=10)
    for times in (1, 5):
        ax.axhline(100 * times * chance, color="black", linestyle=":", linewidth=1)
        ax.text(
            len(tests) - 0.45,
            100 * times * chance,
            "chance" if times == 1 else "5 × chance",
            fontsize=9,
            va="top" if times == 1 else "bottom",
        )
    ax.set_xticks(range(len(tests)), tests)
    ax.set(ylabel="right, percent", ylim=(0, 108))
    ax.legend(ncols=len(shares), loc="upper right")
    said = [
        f"{' '.join(test.split())}: "
        + listed(f"{name} {row[test]:.0%}" for name, row in shares.items())
        for test in tests
    ]
    words = f"Bars of right answers in percent, grouped by test. {'; '.join(said)}."
    finish(fig, title, f"{words} Chance is {chance:.1%}.")
