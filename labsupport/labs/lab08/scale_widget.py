"""A widget: images rebuilt from the coarsest scale to the finest, then with the residual."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport.notebook.plot.images import draw_sheet, pixels
from labsupport.notebook.plot.style import EDGE, ORANGE
from labsupport.notebook.plot.words import listed
from labsupport.notebook.widgets import Drawn, Picture, Playable, choice, column, drawn, row


def scale_explorer(
    stages: Tensor,
    names: Sequence[str],
    images: Tensor,
    captions: Sequence[str],
    measure: Sequence[Sequence[float]],
) -> Playable:
    """A list from the coarsest scale to the finest, then the residual; a list of images.

    `stages` (stages, n, 3, h, w) are the pictures after each of `names`, `images` the originals,
    all in [0, 1]; `measure` is the PSNR of each stage and image.
    """

    def render(index: int, stage: int) -> Drawn:
        fig = Figure(figsize=(9.6, 3.6), dpi=80, layout="constrained")
        left, middle, right = fig.subplots(1, 3, width_ratios=(1, 1, 1.25))
        left.imshow(pixels(images[index]))
        left.set_title(captions[index], fontsize=11)
        middle.imshow(pixels(stages[stage, index]))
        reached = f"{names[stage]}: {measure[stage][index]:.1f} dB"
        middle.set_title(reached, fontsize=11)
        values = [one[index] for one in measure]
        chosen = [i == stage for i in range(len(values))]
        right.bar(
            range(len(values)),
            values,
            color=[ORANGE if one else "white" for one in chosen],
            hatch=["" if one else "///" for one in chosen],
            edgecolor=EDGE,
        )
        right.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=9)
        right.set(ylabel="PSNR, dB", ylim=(min(values) - 1, max(values) + 1))
        for ax in (left, middle):
            ax.axis("off")
        said = listed(f"{name} {value:.1f}" for name, value in zip(names, values))
        return drawn(
            fig,
            f"The image “{captions[index]}” and the same rebuilt up to {reached}. Bars of PSNR in "
            f"dB after each scale: {said}.",
        )

    picker = choice("image", [(caption, i) for i, caption in enumerate(captions)])
    last = len(names) - 1
    scale = choice("up to", [(name, i) for i, name in enumerate(names)], last)
    picture = Picture(render(0, last))

    def changed(_: dict) -> None:
        picture.show(render(picker.value, scale.value))

    picker.observe(changed, "value")
    scale.observe(changed, "value")
    still = _still(stages, names, images, captions, measure)
    return Playable(column(row(picker, scale), picture.widget), still)


def _still(
    stages: Tensor,
    names: Sequence[str],
    images: Tensor,
    captions: Sequence[str],
    measure: Sequence[Sequence[float]],
    most: int = 3,
) -> Drawn:
    columns = len(names) + 1
    fig = Figure(figsize=(1.25 * columns, 1.45 * most), dpi=80, layout="constrained")
    ax = fig.subplots()
    chosen = torch.cat([stages[:, :most], images[None, :most]]).transpose(0, 1).flatten(0, 1)
    draw_sheet(ax, chosen, [*names, "original"] * most, columns)
    return drawn(
        fig,
        f"A row each for {listed(captions[:most])}: the image rebuilt up to {listed(names)}, and "
        f"the original. Of the first, PSNR goes from {measure[0][0]:.1f} dB to "
        f"{measure[-1][0]:.1f} dB.",
    )
