"""Diagrams of lab 01: how tensors flow, and how their channels are laid out."""

import matplotlib.pyplot as plt
import numpy as np
from torch import Tensor

from labsupport.notebook.plot.diagrams import arrow, box
from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import cut, pixels
from labsupport.notebook.plot.style import BLUE, GREEN, GREY, ORANGE, PALETTE, ink


def show_vit(image: Tensor, patch_size: int, *, title: str = "") -> None:
    """Draw the way of `image` (channels, height, width) through a Vision Transformer: its patches,
    the class token before them, positions, encoder, head. Drawn for up to nine patches."""
    patches = cut(image, patch_size).flatten(0, 1)[:9]
    slots = len(patches) + 1
    fig, ax = plt.subplots(figsize=(12, 4.6))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.91)
    ax.imshow(pixels(image), extent=(-5.6, -2.9, 0.2, 2.9), aspect="auto")
    ax.set(xlim=(-5.7, slots + 0.1), ylim=(0.1, 5.5))
    ax.axis("off")
    arrow(ax, (-2.8, 0.75), (0.95, 0.75))
    ax.text(-0.9, 0.85, "cut", ha="center", fontsize=11, color=GREY)
    for i, patch in enumerate(patches, start=1):
        ax.imshow(pixels(patch), extent=(i + 0.08, i + 0.92, 0.3, 1.2), aspect="auto")
        arrow(ax, (i + 0.5, 1.25), (i + 0.5, 1.65))
    for i in range(slots):
        label = "class\ntoken" if i == 0 else f"{i - 1}"
        box(ax, (i + 0.08, 1.7), 0.84, 0.7, label, ORANGE if i == 0 else BLUE)
        box(ax, (i + 0.08, 2.5), 0.84, 0.35, f"+ pos {i}", GREY, size=9)
        arrow(ax, (i + 0.5, 2.9), (i + 0.5, 3.3))
    box(ax, (0.08, 3.35), slots - 0.16, 0.85, "encoder block (attention, MLP)  × depth", GREEN)
    arrow(ax, (0.5, 4.25), (0.5, 4.7))
    box(ax, (0.08, 4.75), 2.6, 0.6, "norm, head", ORANGE)
    arrow(ax, (2.75, 5.05), (3.3, 5.05))
    ax.text(3.4, 5.05, "logits: read from the class token alone", va="center")
    for y, text in (
        (2.05, "one linear map\nfor every patch"),
        (3.78, "all tokens\nlisten to all tokens"),
    ):
        ax.text(-0.1, y, text, ha="right", va="center", fontsize=11, color=GREY)
    words = (
        f"A diagram read from the bottom up: the image is cut into {len(patches)} patches, one "
        f"linear map makes each a token, and a class token goes before them. To each of the "
        f"{slots} a position is added; they pass together through an encoder block (attention, "
        "MLP), repeated depth times. A norm and the head read the logits from the class token."
    )
    finish(fig, title, words)


def show_heads(tokens: int, dim: int, heads: int, *, title: str = "") -> None:
    """Draw which head gets which number of a (tokens, dim) matrix: cut by channel, as it should
    be, and cut by memory order, which is what a reshape without transpose does."""
    by_channel = np.tile(np.arange(dim) // (dim // heads), (tokens, 1))
    by_memory = (np.arange(tokens * dim) // (tokens * dim // heads)).reshape(tokens, dim)
    colours = plt.matplotlib.colors.ListedColormap(PALETTE[:heads])
    fig, axes = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
    for ax, owner, label in zip(
        axes,
        (by_channel, by_memory),
        (
            "right: a head sees some channels of every token",
            "wrong: a head sees every channel of some tokens",
        ),
    ):
        ax.imshow(owner, cmap=colours, vmin=-0.5, vmax=heads - 0.5, aspect="auto")
        ax.set(title=label, xlabel="channel", ylabel="token", yticks=range(tokens))
        for y in range(1, tokens):
            ax.axhline(y - 0.5, color="white", linewidth=1)
        for x in range(1, dim):
            ax.axvline(x - 0.5, color="white", linewidth=1)
        for head in range(heads):
            y, x = np.argwhere(owner == head).mean(0)
            letters = {"ha": "center", "va": "center", "weight": "bold"}
            ax.text(x, y, f"head {head}", color=ink(PALETTE[head]), **letters)
    words = (
        f"Two grids of {tokens} tokens (down) by {dim} channels (across). Left, right: each of the "
        f"{heads} heads takes {dim // heads} columns, some channels of every token. Right, wrong: "
        f"each takes {tokens // heads} rows, every channel of some tokens."
    )
    finish(fig, title, words)
