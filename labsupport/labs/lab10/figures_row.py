"""The picture of lab 10's mixed row: words and places of images, and what is learned of each."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from labsupport.models.vilau.words import IGNORE, IMAGE, VOCABULARY
from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.style import EDGE, ink
from labsupport.notebook.plot.words import counted, listed

GIVEN, WORD, SEEN, CODES = "#FFFFFF", "#BFE3F7", "#D9D9D9", "#F6CE8A"
HATCH = {CODES: "//", SEEN: ".."}
LANES = ("the token", "to be learned at it", "its state predicts")


def show_mixed(rows: Mapping[str, tuple[Tensor, Tensor, Tensor]], *, title: str = "") -> None:
    """Rows of tokens as strips, name -> (tokens, labels, drawn), each (tokens,): at every token
    what it is, what is to be learned at it, and what its state predicts, that of the next one."""
    longest = max(len(tokens) for tokens, *_ in rows.values())
    fig, axes = plt.subplots(
        len(rows),
        1,
        figsize=(0.74 * longest + 2, 2.1 * len(rows)),
        layout="constrained",
        squeeze=False,
    )
    said = []
    for ax, (name, (tokens, labels, drawn)) in zip(axes.flat, rows.items()):
        goals = [
            ("codes", CODES) if codes else ("", GIVEN) if label == IGNORE else (word(label), WORD)
            for label, codes in zip(labels.tolist(), drawn.tolist())
        ]
        shown = [
            ("place", CODES if codes else SEEN) if token == IMAGE else (word(token), GIVEN)
            for token, codes in zip(tokens.tolist(), drawn.tolist())
        ]
        for lane, cells in enumerate((shown, goals, [*goals[1:], ("", GIVEN)])):
            draw_lane(ax, 2 - lane, cells)
        ax.set(xlim=(-0.02, longest + 0.02), ylim=(-0.02, 3.02))
        ax.set_yticks([2.5, 1.5, 0.5], LANES)
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(name, fontsize=12, loc="left")
        words = int((labels != IGNORE).sum())
        told = listed(" ".join(text.strip("<>").split()) for text, _ in shown)
        said.append(
            f"{name}: {told}; {counted(words, 'word')} and the codes of "
            f"{counted(int(drawn.sum()), 'place')} are learned"
        )
    finish(fig, title, f"Strips of tokens, a cell each. {'. '.join(said)}.")


def word(token: int) -> str:
    """A word's own name, in two lines where it has two parts."""
    return VOCABULARY[token].replace(" ", "\n") or "(none)"


def draw_lane(ax: Axes, bottom: float, cells: list[tuple[str, str]]) -> None:
    """Cells of (text, colour) from left to right, one unit wide and high."""
    for x, (text, colour) in enumerate(cells):
        look = {"facecolor": colour, "edgecolor": EDGE, "linewidth": 0.7}
        ax.add_patch(Rectangle((x, bottom), 1, 1, hatch=HATCH.get(colour, ""), **look))
        plain = {"boxstyle": "square,pad=0.1", "facecolor": colour, "edgecolor": "none"}
        ax.text(
            x + 0.5,
            bottom + 0.5,
            text,
            ha="center",
            va="center",
            fontsize=9,
            color=ink(colour),
            bbox=plain if text else None,
        )
