"""Pictures of lab 09: masks, positions, images scale by scale, and a widget to draw by caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from labsupport.notebook.plot.images import draw_sheet
from labsupport.notebook.plot.style import BLUE, ORANGE, PALETTE, finish

Draw = Callable[..., Tensor]


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
    finish(fig, title)


def show_places(
    grids: Mapping[str, tuple[Sequence[int], Sequence[Tensor]]], *, title: str = ""
) -> None:
    """Where the tokens of several scales lie: title -> (scales, coordinates (scale², 2) each)."""
    fig, axes = plt.subplots(
        1, len(grids), figsize=(4.6 * len(grids), 4.6), layout="constrained", squeeze=False
    )
    for ax, (name, (scales, places)) in zip(axes.flat, grids.items()):
        for scale, points, colour in zip(scales, places, PALETTE):
            ax.plot(
                points[:, 1],
                points[:, 0],
                "o" if scale > 1 else "*",
                color=colour,
                markersize=4 + 26 / scale,
                markerfacecolor="none",
                label=f"{scale} × {scale}",
            )
        ax.set(title=name, aspect="equal", xlabel="column", ylabel="row")
        ax.invert_yaxis()
        ax.grid(alpha=0.25)
    axes.flat[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    finish(fig, title)


def show_scales(
    steps: Sequence[Tensor], captions: Sequence[str], names: Sequence[str], *, title: str = ""
) -> None:
    """Images scale by scale: `steps` are batches (n, 3, h, w), a column each; captions to rows."""
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
    finish(fig, title)


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
    for (label, pairs), colour in zip(points.items(), (BLUE, ORANGE)):
        steps = sorted({step for step, _ in pairs})
        means = [np.mean([v for s, v in pairs if s == step]) for step in steps]
        ax.plot(steps, means, "o-", color=colour, label=label)
        ax.plot(*zip(*pairs), "o", color=colour, markersize=3, alpha=0.6)
    for (label, level), style in zip(levels.items(), ("--", ":", "-.", (0, (1, 4)))):
        ax.axhline(level, color="black", linestyle=style, linewidth=1.3, label=label)
    steps = sorted({step for pairs in points.values() for step, _ in pairs})
    ax.set(xscale="log", xlabel="steps of the residual diffusion", ylabel=ylabel)
    ax.set_xticks(steps, [str(step) for step in steps])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    finish(fig, title)


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


def caption_explorer(draw: Draw, start: str, scales: Sequence[int]) -> Any:
    """A widget: type a caption, choose guidance and seed; the image appears scale by scale.

    `draw(caption, guidance, seed, residual)` gives one image a scale, (scales, 3, h, w). What is
    wrong with a caption is said below the field. The still picture shows both ends of the toggle.
    """
    import ipywidgets
    from matplotlib.figure import Figure

    from labsupport.notebook.widgets import Playable, png

    def sheet(images: Tensor, names: Sequence[str], columns: int, title: str) -> bytes:
        rows = -(-len(images) // columns)
        fig = Figure(figsize=(1.55 * columns, 1.85 * rows + 0.35), dpi=80, layout="constrained")
        ax = fig.subplots()
        draw_sheet(ax, images, names, columns)
        ax.set_title(title, fontsize=12)
        return png(fig)

    names = [f"{p} × {p}" for p in scales]

    def render(caption: str, guidance: float, seed: int, residual: bool) -> bytes:
        end = "with residual tokens" if residual else "codes only"
        return sheet(
            draw(caption, guidance, seed, residual),
            [*names[:-1], f"{names[-1]}, {end}"],
            len(names),
            f"“{caption}”",
        )

    field = ipywidgets.Text(
        value=start,
        description="caption",
        continuous_update=False,
        layout=ipywidgets.Layout(width="480px"),
    )
    guidance = ipywidgets.FloatSlider(
        value=1.0, min=0.0, max=6.0, step=0.5, description="guidance", continuous_update=False
    )
    seed = ipywidgets.IntSlider(value=0, min=0, max=50, description="seed", continuous_update=False)
    residual = ipywidgets.Checkbox(value=True, description="residual tokens")
    message = ipywidgets.Label("")
    still = sheet(
        torch.cat([draw(start, 1.0, 0, residual) for residual in (False, True)]),
        [*names[:-1], "codes only", *names[:-1], "with residual"],
        len(names),
        f"“{start}”: the codes alone, and with residual tokens",
    )
    picture = ipywidgets.Image(value=render(start, 1.0, 0, True), format="png")

    def redraw(_: dict) -> None:
        try:
            picture.value = render(field.value, guidance.value, seed.value, residual.value)
            message.value = ""
        except ValueError as error:
            message.value = str(error)[:160]

    for control in (field, guidance, seed, residual):
        control.observe(redraw, "value")
    return Playable(
        ipywidgets.VBox([field, ipywidgets.HBox([guidance, seed, residual]), message, picture]),
        still,
    )
