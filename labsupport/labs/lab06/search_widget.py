"""A widget to search images by a sentence, and sentences by an image."""

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport.data import Batch
from labsupport.notebook.plot.images import draw_sheet, pixels
from labsupport.notebook.plot.style import BLUE, EDGE, GREEN
from labsupport.notebook.widgets import (
    Drawn,
    Message,
    Picture,
    Playable,
    column,
    drawn,
    line_of_text,
    row,
    whole_number,
)


@torch.no_grad()
def search_explorer(
    encode_text: Any, image_vectors: Tensor, batch: Batch, *, start: str, best: int = 10
) -> Playable:
    """Type a caption and see the nearest images, or pick an image and see its captions.

    `encode_text(captions)` gives vectors of length 1, (captions, dim); `image_vectors` are those
    of `batch.images`, (images, dim). A word that the vocabulary lacks is named below the field.
    """
    captions = list(dict.fromkeys(batch.captions))
    caption_vectors = encode_text(captions)

    def by_text(caption: str) -> Drawn:
        scores = (encode_text([caption]) @ image_vectors.T)[0]
        found = scores.argsort(descending=True)[:best]
        fig = Figure(figsize=(10, 2.9 if best > 5 else 2), dpi=80, layout="constrained")
        ax = fig.subplots()
        labels = [f"{value:.2f}" for value in scores[found].tolist()]
        draw_sheet(ax, batch.images[found], labels, 5 if best > 5 else best)
        title = f"“{caption}”: the {best} nearest of {len(batch)} images, with cosines"
        ax.set_title(title)
        nearest = [f"{batch.captions[i]} {v}" for i, v in zip(found.tolist()[:3], labels)]
        return drawn(fig, f"{title} {labels[0]} to {labels[-1]}. First: {'; '.join(nearest)}.")

    def by_image(index: int) -> Drawn:
        scores = caption_vectors @ image_vectors[index]
        found = scores.argsort(descending=True)[:6].flip(0)
        fig = Figure(figsize=(10, 2.9), dpi=80, layout="constrained")
        left, right = fig.subplots(1, 2, width_ratios=(1, 2.4))
        left.imshow(pixels(batch.images[index]))
        left.axis("off")
        own = captions.index(batch.captions[index])
        names = [captions[i] + (" ✓" if i == own else "") for i in found.tolist()]
        right.barh(
            range(len(found)),
            scores[found].tolist(),
            color=[GREEN if i == own else BLUE for i in found.tolist()],
            hatch=["" if i == own else "///" for i in found.tolist()],
            edgecolor=EDGE,
        )
        right.set_yticks(range(len(found)), names)
        right.set(xlabel="cosine", title="the captions that fit best; ✓ its own")
        said = [
            f"{names[k].replace(' ✓', ', its own')} {scores[i]:.2f}"
            for k, i in reversed(list(enumerate(found.tolist())))
        ]
        return drawn(
            fig,
            f"Image {index}, {captions[own]}, and bars of cosine for the captions that fit best: "
            f"{'; '.join(said)}.",
        )

    field = line_of_text("caption", start)
    picker = whole_number("or image", 0, len(batch) - 1, 0)
    message = Message()
    picture = Picture(by_text(start))

    def typed(change: dict) -> None:
        try:
            picture.show(by_text(change["new"]))
            message.say()
        except ValueError as error:
            message.say(str(error))

    field.observe(typed, "value")
    picker.observe(lambda change: picture.show(by_image(change["new"])), "value")
    return Playable(column(row(field, picker), message.widget, picture.widget), picture.shown)
