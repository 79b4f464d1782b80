"""Style of all figures: colours, markers, dashes, hatches and fonts.

Colours are told apart by colour-blind readers (Okabe and Ito's palette; viridis and red-blue for
maps), and nothing is told by colour alone: series differ in marker, dash or hatch too. Letters are
dark on light or light on dark, and what is too pale for white paper gets a dark edge. A change
here changes every figure of every lab.
"""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.patheffects import Normal, Stroke

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#666666",
)
EDGE = "#222222"  # of markers, bars and frames
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = (
    "-",
    "--",
    "-.",
    (0, (1, 1.2)),
    (0, (5, 1.5, 1, 1.5, 1, 1.5)),
    (0, (7, 3)),
)
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")
HEAT = "viridis"
LEAST_LINE, LEAST_TEXT = 3.0, 4.5  # contrast that WCAG 2.1 AA asks of graphics and of text


def use_style() -> None:
    """Make the labs' style the default of matplotlib, for the student's own plots too."""
    plt.rcParams.update(
        {
            "figure.dpi": 90,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "font.size": 12,
            "axes.titlesize": 13,
            "figure.titlesize": 15,
            "axes.titlepad": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "axes.prop_cycle": plt.cycler(color=PALETTE),
            "lines.linewidth": 2.2,
            "lines.markersize": 7,
            "legend.frameon": False,
            "hatch.linewidth": 0.8,
            "image.cmap": HEAT,
            "image.interpolation": "nearest",
        }
    )


def luminance(colour: Any) -> float:
    """Relative luminance of a colour, 0 black to 1 white (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Any, other: Any) -> float:
    """Contrast of two colours, 1 to 21 (WCAG 2.1)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def ink(ground: Any) -> str:
    """Black or white: the one that is read better on `ground`."""
    return max(("white", "black"), key=lambda colour: contrast(colour, ground))


def outlined(width: float = 2.2, colour: Any = "black") -> list:
    """The effect that draws a dark rim around a line of this width, for pale colours and for
    frames on pictures."""
    return [Stroke(linewidth=width + 1.4, foreground=colour), Normal()]


def line_of(
    number: int, colour: str | None = None, *, width: float = 2.2, markers: bool = True
) -> dict:
    """How series `number` of a chart is drawn: its own colour, dash and marker with a dark edge;
    pale lines have a dark rim."""
    colour = colour or PALETTE[number % len(PALETTE)]
    look: dict = {
        "color": colour,
        "linestyle": DASHES[number % len(DASHES)],
        "linewidth": width,
        "markeredgecolor": EDGE,
        "markeredgewidth": 0.9,
    }
    if markers:
        look["marker"] = MARKERS[number % len(MARKERS)]
    if contrast(colour, "white") < LEAST_LINE:
        look |= {"path_effects": outlined(width, EDGE), "markeredgewidth": 0}  # the rim is its edge
    return look


def bar_of(number: int, colour: str | None = None) -> dict:
    """How the bars of series `number` are drawn: its own colour and hatch, a dark edge."""
    return {
        "color": colour or PALETTE[number % len(PALETTE)],
        "hatch": HATCHES[number % len(HATCHES)],
        "edgecolor": EDGE,
        "linewidth": 0.9,
    }


def frame_of(colour: str, width: float = 3.0) -> dict:
    """How a frame is drawn on a picture: `colour` with a dark rim, so that it is seen on any."""
    return {"fill": False, "edgecolor": colour, "linewidth": width, "path_effects": outlined(width)}


def ticked(right: bool, label: str = "") -> str:
    """`label` after ✓ or ✗, for what a green or a red frame says."""
    return f"{'✓' if right else '✗'} {label}".rstrip()
