"""Style of all figures: colours, fonts, and how a figure ends.

Colours are told apart by colour-blind readers (Okabe and Ito's palette; viridis and red-blue for
maps). A change here changes every figure of every lab.
"""

from typing import Any

import matplotlib.pyplot as plt

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#666666",
)
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
HEAT = "viridis"


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
            "image.cmap": HEAT,
            "image.interpolation": "nearest",
        }
    )


def finish(fig: Any, title: str) -> None:
    """Give a figure its title and show it."""
    if title:
        fig.suptitle(title)
    plt.show()
