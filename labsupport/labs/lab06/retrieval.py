"""Retrieval, images found by sentences: pictures of it, and a widget to search."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from labsupport.data import Batch
from labsupport.metrics.retrieval import better, top1
from labsupport.notebook.plot.images import draw_sheet, pixels
from labsupport.notebook.plot.style import BLUE, GREEN, ORANGE, PALETTE, RED, finish

__all__ = [
    "better",
    "same_things",
    "search_explorer",
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
    ax.imshow(cosines, vmin=min(0.0, cosines.min().item()), aspect="auto")
    middle = (cosines.max() + cosines.min()) / 2
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
                color="black" if value > middle else "white",
            )
        ax.add_patch(
            Rectangle(
                (row - 0.49, row - 0.47), 0.98, 0.94, fill=False, edgecolor=ORANGE, linewidth=2.5
            )
        )
    ax.set_yticks(range(n), captions)
    ax.set_xticks([])
    ax.tick_params(length=0)
    finish(fig, title)


def show_search(
    captions: Sequence[str], batch: Batch, scores: Tensor, *, best: int = 5, title: str = ""
) -> None:
    """Each caption with the `best` images of `batch` by `scores` (captions, images).

    A green frame means that an image shows just the things that the caption names.
    """
    right = same_things(captions, batch)
    columns = 2
    rows = -(-len(captions) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(13, 1.95 * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, caption, row, fits in zip(axes.flat, captions, scores, right):
        found = row.argsort(descending=True)[:best]
        _draw_found(
            ax,
            batch.images[found],
            fits[found].tolist(),
            [f"{value:.2f}" for value in row[found].tolist()],
        )
        ax.set_title(f"“{caption}”", loc="left", fontsize=12)
    finish(fig, title)


def _draw_found(ax: Axes, images: Tensor, right: Sequence[bool], labels: Sequence[str]) -> None:
    side = images.shape[-1]
    for (x, y), good in zip(draw_sheet(ax, images, labels, len(images)), right):
        ax.add_patch(
            Rectangle((x, y), side, side, fill=False, linewidth=3, edgecolor=GREEN if good else RED)
        )


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
    right.plot(scales, color=ORANGE)
    right.set(xlabel="step", ylabel="exp(logit_scale)", title="learned scale, 1 / temperature")
    for ax in (left, right):
        ax.grid(alpha=0.25)
    finish(fig, title)


def show_shares(
    shares: Mapping[str, Mapping[str, float]], chance: float, *, title: str = ""
) -> None:
    """Bars of `shares`, net -> test -> share of right answers (0 to 1), in groups of tests."""
    fig, ax = plt.subplots(figsize=(10.5, 4), layout="constrained")
    tests = list(next(iter(shares.values())))
    width = 0.8 / len(shares)
    for k, ((name, row), colour) in enumerate(zip(shares.items(), PALETTE)):
        places = [i + (k - (len(shares) - 1) / 2) * width for i in range(len(tests))]
        bars = ax.bar(
            places, [100 * row[test] for test in tests], 0.92 * width, color=colour, label=name
        )
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
    finish(fig, title)


@torch.no_grad()
def search_explorer(
    encode_text: Any, image_vectors: Tensor, batch: Batch, *, start: str, best: int = 10
) -> Any:
    """A widget: type a caption and see the nearest images, or pick an image and see its captions.

    `encode_text(captions)` gives vectors of length 1, (captions, dim); `image_vectors` are those
    of `batch.images`, (images, dim). A word that the vocabulary lacks is named below the field.
    """
    import ipywidgets
    from matplotlib.figure import Figure

    from labsupport.notebook.widgets import Playable, png

    captions = list(dict.fromkeys(batch.captions))
    caption_vectors = encode_text(captions)

    def by_text(caption: str) -> bytes:
        scores = (encode_text([caption]) @ image_vectors.T)[0]
        found = scores.argsort(descending=True)[:best]
        fig = Figure(figsize=(10, 2.9 if best > 5 else 2), dpi=80, layout="constrained")
        ax = fig.subplots()
        labels = [f"{value:.2f}" for value in scores[found].tolist()]
        draw_sheet(ax, batch.images[found], labels, 5 if best > 5 else best)
        ax.set_title(f"“{caption}”: the {best} nearest of {len(batch)} images, with cosines")
        return png(fig)

    def by_image(index: int) -> bytes:
        scores = caption_vectors @ image_vectors[index]
        found = scores.argsort(descending=True)[:6].flip(0)
        fig = Figure(figsize=(10, 2.9), dpi=80, layout="constrained")
        left, right = fig.subplots(1, 2, width_ratios=(1, 2.4))
        left.imshow(pixels(batch.images[index]))
        left.axis("off")
        own = captions.index(batch.captions[index])
        colours = [GREEN if i == own else BLUE for i in found.tolist()]
        right.barh(range(len(found)), scores[found].tolist(), color=colours)
        right.set_yticks(range(len(found)), [captions[i] for i in found.tolist()])
        right.set(xlabel="cosine", title="the captions that fit best; green is its own")
        return png(fig)

    field = ipywidgets.Text(
        value=start,
        description="caption",
        continuous_update=False,
        layout=ipywidgets.Layout(width="480px"),
    )
    picker = ipywidgets.IntSlider(
        value=0, min=0, max=len(batch) - 1, description="or image", continuous_update=False
    )
    message = ipywidgets.Label("")
    picture = ipywidgets.Image(value=by_text(start), format="png")

    def typed(change: dict) -> None:
        try:
            picture.value, message.value = by_text(change["new"]), ""
        except ValueError as error:
            message.value = str(error)[:110]

    field.observe(typed, "value")
    picker.observe(lambda change: setattr(picture, "value", by_image(change["new"])), "value")
    return Playable(ipywidgets.VBox([field, picker, message, picture]), picture.value)
