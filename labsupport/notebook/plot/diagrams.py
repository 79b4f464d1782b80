"""Diagrams: the boxes and arrows they are made of."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labsupport.notebook.plot.style import EDGE, GREY, ink


def box(
    ax: Axes,
    place: tuple[float, float],
    width: float,
    height: float,
    text: str,
    colour: str,
    *,
    size: float = 11,
    linespacing: float | None = 0.9,
    corner: float = 0.08,
) -> None:
    """Draw a filled box with `text` in its middle; its lower left corner is at `place`.

    Lengths are in the coordinates of `ax`, `corner` (the radius of the corners) too, `size` is
    that of the letters in points; a `linespacing` of None is matplotlib's own.
    """
    x, y = place
    outline = f"round,pad=0,rounding_size={corner:g}"
    ax.add_patch(
        FancyBboxPatch(
            place, width, height, facecolor=colour, edgecolor=EDGE, linewidth=0.9, boxstyle=outline
        )
    )
    ax.text(
        x + width / 2,
        y + height / 2,
        text,
        color=ink(colour),
        ha="center",
        va="center",
        fontsize=size,
        linespacing=linespacing,
    )


def arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], linewidth: float = 1.5
) -> None:
    """Draw a grey arrow from `start` to `end`, in the coordinates of `ax`."""
    how = {"arrowstyle": "->", "color": GREY, "linewidth": linewidth}
    ax.annotate("", end, start, arrowprops=how)
