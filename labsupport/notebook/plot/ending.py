"""How every figure ends: its title, the picture, and the picture in words.

Who cannot see a figure reads what it shows. The words go out twice, because readers differ: as the
picture's alternative text, which nbconvert's classic pages use, and folded below it, where
JupyterLab, Notebook and Colab show them.
"""

from html import escape

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from labsupport.notebook.plot.words import entitled


def finish(fig: Figure, title: str, alt: str) -> None:
    """Give a figure its title, show it, and say in words what it shows.

    `alt` is one to three plain sentences for a reader who cannot see it: what is on the axes, what
    is seen. Where a result was measured they are made of its numbers. The title is said before
    them. They stay with the figure as its label. Raises ValueError where there are none.
    """
    if title:
        fig.suptitle(title)
    show(fig, entitled(title, alt) if alt.strip() else "")


def show(fig: Figure, told: str) -> None:
    """Show a figure whose title is drawn already; `told` is all that is said of it."""
    if not told.strip():
        raise ValueError("alt: say what the figure shows, for a reader who cannot see it")
    fig.set_label(told)
    if "inline" not in matplotlib.get_backend():  # a window, or a test
        plt.show()
        return
    from IPython.display import display

    display(fig, metadata={"image/png": {"alt": told}})
    plt.close(fig)  # or it would be shown again when the cell ends
    show_words(told)


def show_words(told: str, summary: str = "Figure in words") -> None:
    """Show words folded under a line that says what they are."""
    from IPython.display import display

    page = f"<details><summary>{escape(summary)}</summary>{escape(told)}</details>"
    display({"text/html": page, "text/plain": f"{summary}: {told}"}, raw=True)
