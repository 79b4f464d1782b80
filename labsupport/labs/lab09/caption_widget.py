"""A widget to draw by caption: the image appears scale by scale."""

from collections.abc import Callable, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport.notebook.plot.images import draw_sheet
from labsupport.notebook.plot.words import listed
from labsupport.notebook.widgets import (
    Drawn,
    Message,
    Picture,
    Playable,
    choice,
    column,
    drawn,
    line_of_text,
    row,
    whole_number,
)

Draw = Callable[..., Tensor]


def caption_explorer(draw: Draw, start: str, scales: Sequence[int]) -> Playable:
    """Type a caption, choose guidance and seed; the image appears scale by scale.

    `draw(caption, guidance, seed, residual)` gives one image a scale, (scales, 3, h, w). What is
    wrong with a caption is said below the field. The still picture shows both ends of the choice.
    """
    names = [f"{p} × {p}" for p in scales]
    ends = {False: "codes only", True: "with residual tokens"}

    def sheet(images: Tensor, titles: Sequence[str], title: str, words: str) -> Drawn:
        lines = len(images) // len(names)
        size = 1.55 * len(names), 1.85 * lines + 0.35
        fig = Figure(figsize=size, dpi=80, layout="constrained")
        ax = fig.subplots()
        draw_sheet(ax, images, titles, len(names))
        ax.set_title(title, fontsize=12)
        return drawn(fig, words)

    def render(caption: str, guidance: float, seed: int, residual: bool) -> Drawn:
        return sheet(
            draw(caption, guidance, seed, residual),
            [*names[:-1], f"{names[-1]}, {ends[residual]}"],
            f"“{caption}”",
            f"{len(names)} pictures of the caption “{caption}”, drawn coarse to fine: after scales "
            f"{listed(names)}, {ends[residual]}, with guidance {guidance:g} and seed {seed}.",
        )

    field = line_of_text("caption", start)
    guidance = choice("guidance", [(f"{w / 2:g}", w / 2) for w in range(13)], 1.0)
    seed = whole_number("seed", 0, 50, 0)
    residual = choice("end", [(name, value) for value, name in ends.items()], True)
    message = Message()
    title = f"“{start}”: the codes alone, and with residual tokens"
    still = sheet(
        torch.cat([draw(start, 1.0, 0, end) for end in ends]),
        [*names[:-1], "codes only", *names[:-1], "with residual"],
        title,
        f"{title}, a row each: the image after scales {listed(names)}, coarse to fine.",
    )
    picture = Picture(render(start, 1.0, 0, True))

    def redraw(_: dict) -> None:
        try:
            picture.show(render(field.value, guidance.value, seed.value, residual.value))
            message.say()
        except ValueError as error:
            message.say(str(error))

    controls = field, guidance, seed, residual
    for control in controls:
        control.observe(redraw, "value")
    return Playable(column(row(*controls), message.widget, picture.widget), still)
