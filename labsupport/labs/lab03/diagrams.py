"""Diagrams of lab 03: how linear attention and networks for dense prediction are built."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from labsupport.notebook.plot.diagrams import arrow, box
from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.style import BLUE, EDGE, GREEN, GREY, ORANGE, PURPLE, RED, ink


def show_orders(tokens: int, dim: int, *, title: str = "") -> None:
    """Draw both orders of the product Q Kᵀ V for `tokens` x `dim` matrices, to scale: which of
    them passes through a matrix of tokens x tokens, and which through one of dim x dim."""
    fig, axes = plt.subplots(1, 2, figsize=(12, 3.2), layout="constrained")
    thin, tall = max(0.1, dim / tokens), 1.0
    pairs, small = f"{tokens:,} × {tokens:,}", f"{dim} × {dim}"
    quadratic = (
        ("Q", thin, tall, BLUE),
        ("Kᵀ", tall, thin, ORANGE),
        None,
        (pairs, tall, tall, RED),
        ("V", thin, tall, GREEN),
    )
    linear = (
        ("Kᵀ", tall, thin, ORANGE),
        ("V", thin, tall, GREEN),
        None,
        ("Q", thin, tall, BLUE),
        (small, thin, thin, RED),
    )
    names = (
        f"(Q Kᵀ) V: {2 * tokens**2 * dim / 1e6:,.0f} million MACs",
        f"Q (Kᵀ V): {2 * tokens * dim**2 / 1e6:,.1f} million MACs",
    )
    for ax, parts, name in zip(axes, (quadratic, linear), names):
        x = 0.0
        for part in parts:
            if part is None:
                arrow(ax, (x, 0.5), (x + 0.26, 0.5), linewidth=2)
                x += 0.42
                continue
            label, width, height, colour = part
            look = {"facecolor": colour, "edgecolor": EDGE, "linewidth": 0.9}
            ax.add_patch(Rectangle((x, 0.5 - height / 2), width, height, **look))
            inside = width > 0.3 and height > 0.3
            last = colour == RED and not inside  # wider than its square: to the right of it
            ax.text(
                x if last else x + width / 2,
                0.5 if inside else 0.5 - height / 2 - 0.04,
                label,
                fontsize=14,
                weight="bold",
                ha="left" if last else "center",
                va="center" if inside else "top",
                color=ink(colour if inside else "white"),
            )
            x += width + 0.16
        ax.set(xlim=(-0.1, 3.3), ylim=(-0.15, 1.02), aspect="equal")
        ax.set_title(name, fontsize=15, loc="left")
        ax.axis("off")
    words = (
        f"Rectangles to scale for {tokens:,} tokens of {dim} numbers. Left: Q times Kᵀ makes a "
        f"square of {pairs}, which then meets V; {names[0]}. Right: Kᵀ times V makes a square "
        f"of {small}, which then meets Q; {names[1]}."
    )
    finish(fig, title, words)


def show_module(*, title: str = "") -> None:
    """Draw the EfficientViT module: multi-scale attention for context, MBConv for detail."""
    fig, ax = plt.subplots(figsize=(12, 3.5))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.88)
    ax.set(xlim=(0, 24), ylim=(0, 6))
    ax.axis("off")
    boxes = [  # x, y, width, text, colour
        (1.5, 2.5, 2.2, "1 × 1\nQ, K, V", BLUE),
        (5.2, 4.3, 3.0, "as they are", GREY),
        (5.2, 0.7, 3.0, "5 × 5 depthwise\n1 × 1 grouped", ORANGE),
        (9.7, 4.3, 3.0, "ReLU linear\nattention", RED),
        (9.7, 0.7, 3.0, "ReLU linear\nattention", RED),
        (14.2, 2.5, 2.2, "1 × 1\nproject", BLUE),
        (18.3, 2.5, 4.0, "1 × 1 · depthwise\n3 × 3 · 1 × 1", GREEN),
    ]
    for x, y, width, text, colour in boxes:
        box(ax, (x, y), width, 1.2, text, colour, size=10, linespacing=None, corner=0.15)
    for a, b in (
        ((0.2, 3.1), (1.4, 3.1)),
        ((3.8, 3.3), (5.1, 4.8)),
        ((3.8, 2.9), (5.1, 1.4)),
        ((8.3, 4.9), (9.6, 4.9)),
        ((8.3, 1.3), (9.6, 1.3)),
        ((12.8, 4.8), (14.1, 3.4)),
        ((12.8, 1.4), (14.1, 2.8)),
        ((16.5, 3.1), (18.2, 3.1)),
        ((22.4, 3.1), (23.8, 3.1)),
    ):
        arrow(ax, a, b)
    for left, right, x in ((0.7, 17.2, 17.2), (17.4, 23.1, 23.1)):
        _shortcut(ax, left, right)
        ax.text(
            x,
            3.1,
            "+",
            ha="center",
            va="center",
            fontsize=15,
            weight="bold",
            bbox={"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": PURPLE},
        )
    ax.text(
        8.9,
        5.75,
        "context: every pixel hears from every pixel, and from neighbourhoods",
        ha="center",
        va="center",
        color=GREY,
    )
    ax.text(
        20.3, 4.4, "detail: a feed-forward layer\nwith a convolution in it", ha="center", color=GREY
    )
    words = (
        "A diagram from left to right. Context: a 1 × 1 convolution makes Q, K and V; they go on "
        "twice, as they are and through a 5 × 5 depthwise and a 1 × 1 grouped convolution; each "
        "passes through ReLU linear attention, and a 1 × 1 projection joins both. Detail: 1 × 1, "
        "depthwise 3 × 3 and 1 × 1 convolutions. A shortcut adds the input of each half to its "
        "output."
    )
    finish(fig, title, words)


def _shortcut(ax: Axes, left: float, right: float) -> None:
    ax.plot([left, left, right, right], [3.1, 0.25, 0.25, 2.85], color=PURPLE, linewidth=1.5)
