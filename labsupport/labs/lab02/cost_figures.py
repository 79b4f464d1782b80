"""Figures of lab 02: slopes of cost, where two kinds of attention cross, how far news travels."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter, NullLocator
from torch import Tensor

from labsupport.labs.lab02.cost_study import series
from labsupport.labs.lab02.footprints import COLOURS, MARKERS, draw_footprint
from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.style import EDGE, GREY, contrast, outlined
from labsupport.notebook.plot.words import curves_in_words, listed

FUSED = "softmax, fused"
PANELS = (
    ("attention", "MACs without projections", 1),
    ("bytes", "peak memory, MiB", 2**-20),
    ("seconds", "time, ms", 1000),
)


def _style(variant: str) -> dict:
    """Colour and marker of a variant; the fused softmax is a dashed softmax."""
    base = variant.split(",")[0]
    colour = COLOURS.get(base, GREY)
    look = {
        "color": colour,
        "marker": "X" if variant == FUSED else MARKERS[base],
        "linestyle": "--" if variant == FUSED else "-",
        "markeredgecolor": EDGE,
        "markeredgewidth": 0.8,
    }
    return look | ({"path_effects": outlined(1.8, EDGE)} if contrast(colour, "white") < 3 else {})


def show_costs(
    records: Sequence[dict],
    fits: Mapping[str, Mapping[str, tuple[float, float]]],
    large: int,
    *,
    title: str = "",
) -> None:
    """Draw MACs, memory and time of every variant against the number of tokens.

    `records` are those of `cost_study.cost_sweep` with "attention" (MACs without projections);
    `fits[variant][key]` is (exponent, factor), stated in the legend; the range below `large`
    tokens, where memory and time are not fitted, is shaded.
    """
    fig, axes = plt.subplots(1, 3, figsize=(13, 5.6), layout="constrained")
    ticks = sorted({r["tokens"] for r in records})
    for ax, (key, label, unit) in zip(axes, PANELS):
        for variant, fit in fits.items():
            n, values = series(records, variant, key)
            ax.plot(
                n,
                [value * unit for value in values],
                markersize=6,
                linewidth=1.8,
                label=f"{variant}: {fit[key][0]:.2f}",
                **_style(variant),
            )
        if key != "attention" and large:
            ax.axvspan(ticks[0] * 0.8, large * 0.93, facecolor=(GREY, 0.12), edgecolor=GREY)
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="tokens N",
            title=label,
            xlim=(ticks[0] * 0.8, ticks[-1] * 1.25),
        )
        chosen = ticks[:1]
        for tick in ticks:
            if tick >= 3.9 * chosen[-1]:  # labels must not touch
                chosen.append(tick)
        ax.set_xticks(chosen, [f"{tick:,}" for tick in chosen])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.grid(alpha=0.25)
        ax.legend(
            title="exponent of N", fontsize=10, loc="upper center", bbox_to_anchor=(0.5, -0.16)
        )
    said = [
        f"{label}, {listed(f'{variant} {fit[key][0]:.2f}' for variant, fit in fits.items())}"
        for key, label, _ in PANELS
    ]
    words = (
        f"Three charts with logarithmic axes against {ticks[0]:,} to {ticks[-1]:,} tokens N. "
        f"Exponents of N: {'; '.join(said)}."
    )
    if large:
        words += f" Memory and time are fitted from {large:,} tokens on; the range below is shaded."
    finish(fig, title, words)


def show_crossover(
    lengths: Sequence[int],
    macs: Mapping[str, Sequence[float]],
    seconds: Mapping[str, Sequence[float]],
    crossings: Mapping[str, float | None],
    *,
    title: str = "",
) -> None:
    """Draw MACs and microseconds against the number of tokens, with a line at each crossing."""
    fig, axes = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    for ax, values, label, unit in (
        (axes[0], macs, "MACs of attention", 1),
        (axes[1], seconds, "time of the layer, µs", 1e6),
    ):
        for variant, y in values.items():
            if variant == FUSED and ax is axes[0]:
                continue  # the same products as softmax
            ax.plot(lengths, [unit * v for v in y], label=variant, **_style(variant))
        ax.set(xscale="log", yscale="log", xlabel="tokens N", title=label)
        ax.set_xticks(lengths, [f"{n:,}" for n in lengths], fontsize=10)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.grid(alpha=0.25)
        ax.legend(loc="upper left")
    for name, found in crossings.items():
        if found:
            ax = axes[0] if name == "MACs" else axes[1]
            ax.axvline(found, color="black", linestyle=":", linewidth=1.5)
            ax.text(
                found * 1.06,
                0.04 if "fused" not in name else 0.14,
                f"N = {found:,.0f}",
                transform=ax.get_xaxis_transform(),
            )
    counts = {v: (lengths, y) for v, y in macs.items() if v != FUSED}
    times = {v: (lengths, [1e6 * s for s in y]) for v, y in seconds.items()}
    meet = [f"{name} at N = {n:,.0f}" if n else f"{name} nowhere" for name, n in crossings.items()]
    words = (
        f"Both axes logarithmic, across: tokens N. Left, MACs: {curves_in_words(counts)} Right, "
        f"microseconds: {curves_in_words(times)} Lines cross, by {listed(meet)}."
    )
    finish(fig, title, words)


def show_news(
    image: Tensor, heard: Sequence[Tensor], titles: Sequence[str], window: int, *, title: str = ""
) -> None:
    """Draw `image` once for each map of `heard` (side, side): bright where the top left token has
    heard from."""
    fig, axes = plt.subplots(
        1, len(heard), figsize=(2.6 * len(heard), 3.7), squeeze=False, layout="constrained"
    )
    for ax, known, label in zip(axes.flat, heard, titles):
        draw_footprint(ax, image, known, 0, window)
        ax.set_title(f"{label}: {np.mean(known.numpy()):.0%}", fontsize=12)
    said = listed(ax.get_title() for ax in axes.flat)
    words = (
        f"The image in windows of {window} × {window} tokens, bright where the top left token has "
        f"heard from. The bright part grows from that corner: {said} of the map."
    )
    finish(fig, title, words)
