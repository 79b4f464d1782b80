"""Images, patches and tokens as pictures.

A title says what the reader should see. Every `show_...` and `compare_...` draws at once and
returns nothing.
"""

from collections.abc import Sequence
from itertools import groupby

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.style import RED, frame_of, ticked
from labsupport.notebook.plot.words import counted, listed


def show_images(
    images: Tensor,
    titles: Sequence[str] = (),
    *,
    columns: int = 8,
    title: str = "",
    inches: float = 1.45,
    alt: str = "",
) -> None:
    """Draw `images` (n, channels, height, width) in [0, 1], each `inches` wide with a caption.

    `alt` says what is seen on them; without it the captions have to do.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    fig, ax = plt.subplots(figsize=(inches * columns, 1.17 * inches * rows), layout="constrained")
    draw_sheet(ax, images, titles, columns)
    lines = f" in rows of {columns}" if rows > 1 else ""
    runs = [(name, len(list(same))) for name, same in groupby(titles)]
    said = listed(name if many == 1 else f"{many} times {name}" for name, many in runs)
    said = f": {said}" if titles else ""
    finish(fig, title, f"{alt} {counted(len(images), 'picture')}{lines}{said}.")


def show_patches(
    image: Tensor, patch_size: int, *, title: str = "", most: int = 16, alt: str = ""
) -> None:
    """Draw `image` (channels, height, width) with its patch grid, and its patches as a sentence.

    Patches are numbered row by row; after `most` of them the sentence breaks off. `alt` says what
    the image shows.
    """
    patches = cut(image, patch_size).flatten(0, 1)  # (tokens, channels, patch, patch)
    tokens = patches[:most]
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(11, 3.4), width_ratios=(1, 2.6), layout="constrained"
    )
    draw_grid(left, image, patch_size)
    draw_sheet(
        right, tokens, [str(i) for i in range(len(tokens))], len(tokens) if len(tokens) <= 9 else 8
    )
    rest = len(patches) - len(tokens)
    right.set_title(
        f"the first {len(tokens)} tokens, {rest} more follow"
        if rest
        else f"{len(tokens)} tokens, in reading order",
        fontsize=12,
        pad=14,
    )
    rows, columns = (side // patch_size for side in image.shape[-2:])
    words = (
        f"Left: the image under a grid of {rows} × {columns} patches of {patch_size} pixels, "
        f"numbered row by row. Right: {'the first ' if rest else ''}{len(tokens)} patches one "
        f"after another, as a sentence{f'; {rest} more follow' if rest else ''}."
    )
    finish(fig, title, f"{alt} {words}")


def show_grids(
    image: Tensor, patch_sizes: Sequence[int], *, title: str = "", alt: str = ""
) -> None:
    """Draw `image` (channels, height, width) with the patch grid of each of `patch_sizes`."""
    fig, axes = plt.subplots(
        1,
        len(patch_sizes),
        figsize=(3.6 * len(patch_sizes), 4.1),
        squeeze=False,
        layout="constrained",
    )
    for ax, patch_size in zip(axes.flat, patch_sizes):
        draw_grid(ax, image, patch_size)
        tokens = (image.shape[-2] // patch_size) * (image.shape[-1] // patch_size)
        ax.set_title(f"{patch_size} px: {tokens:,} tokens,\n{tokens**2:,} pairs of tokens")
    said = listed(" ".join(ax.get_title().split()) for ax in axes.flat)
    finish(fig, title, f"{alt} The same image under {counted(len(patch_sizes), 'grid')}: {said}.")


def compare_tokens(yours: Tensor, image: Tensor, patch_size: int, *, title: str = "") -> None:
    """Draw `yours` (tokens, channels * patch²) as little pictures below the patches of `image`.

    A patch that is what it should be has a ✓ over it; another gets a red frame and a ✗.
    """
    target = cut(image, patch_size).flatten(0, 1)  # (tokens, channels, patch, patch)
    mine = yours.detach().reshape(target.shape)
    n = len(target)
    fig, ax = plt.subplots(figsize=(1.1 * n + 1, 2.8), layout="constrained")
    same = [torch.equal(one, other) for one, other in zip(target, mine)]
    names = [*map(str, range(n)), *map(ticked, same)]
    corners = draw_sheet(ax, torch.cat([target, mine]), names, n)
    for corner, right in zip(corners[n:], same):
        if not right:
            ax.add_patch(Rectangle(corner, patch_size, patch_size, **frame_of(RED)))
    for (x, y), label in zip((corners[0], corners[n]), ("target ", "yours ")):
        ax.text(x, y + patch_size / 2, label, ha="right", va="center")
    wrong = [i for i, right in enumerate(same) if not right]
    found = f"Different: {listed(wrong)}." if wrong else "All are equal."
    words = f"Above: the {n} patches in order; below: the tokens of your function as patches."
    finish(fig, title, f"{words} {found}")


def draw_sheet(
    ax: Axes, images: Tensor, titles: Sequence[str] = (), columns: int = 8
) -> list[tuple[float, float]]:
    """Draw `images` (n, channels, height, width) in rows of `columns` into one `ax`.

    One picture is many times faster to draw than one axes each. Returns the top left corner
    (x, y) of every image in the coordinates of `ax`.
    """
    height, width = images.shape[-2:]
    rows = -(-len(images) // columns)
    across, down = width * 1.1, height * (1.28 if titles else 1.1)
    ax.set(xlim=(0, columns * across), ylim=(rows * down, 0), aspect="equal")
    ax.axis("off")
    corners = [
        (i % columns * across, i // columns * down + down - height) for i in range(len(images))
    ]
    for i, ((x, y), image) in enumerate(zip(corners, images)):
        ax.imshow(pixels(image), extent=(x, x + width, y + height, y))
        if i < len(titles):
            ax.text(
                x + width / 2, y - 0.03 * height, titles[i], ha="center", va="bottom", fontsize=10
            )
    ax.set(xlim=(0, columns * across), ylim=(rows * down, 0))
    return corners


def rows_of_axes(
    labels: Sequence[str],
    columns: int,
    *,
    inches: float,
    margin: tuple[float, float],
    frames: bool = True,
) -> tuple[Figure, np.ndarray]:
    """A figure of rows of images that are yet to be drawn, a label to the left of each row: the
    figure and its axes (rows, columns), without ticks and, if so wanted, without `frames`.

    An image is `inches` wide and high; `margin` is added to the width and to the height.
    """
    size = inches * columns + margin[0], inches * len(labels) + margin[1]
    fig, axes = plt.subplots(
        len(labels), columns, squeeze=False, layout="constrained", figsize=size
    )
    aligned = {"ha": "right", "va": "center", "fontsize": 12}
    for line, label in zip(axes, labels):
        for ax in line:
            ax.set(xticks=[], yticks=[])
            if not frames:
                ax.axis("off")  # which would hide a label of the axis too
        if frames:
            line[0].set_ylabel(label, rotation=0, **aligned)
        else:
            line[0].text(-0.12, 0.5, label, transform=line[0].transAxes, **aligned)
    return fig, axes


def rows_below(
    images: Tensor, labels: Sequence[str], *, inches: float, margin: tuple[float, float]
) -> tuple[Figure, np.ndarray]:
    """As `rows_of_axes`, with `images` (n, channels, height, width) drawn in a first row that is
    labelled "image"; the axes are those of the rows below it, one for each of `labels`."""
    fig, axes = rows_of_axes(("image", *labels), len(images), inches=inches, margin=margin)
    draw_row(axes[0], images)
    return fig, axes[1:]


def draw_row(line: Sequence[Axes], images: Tensor) -> None:
    """Draw `images` (n, channels, height, width), one into each axes of `line`."""
    for ax, image in zip(line, images):
        ax.imshow(pixels(image))


def draw_grid(ax: Axes, image: Tensor, patch_size: int, numbers: bool = True) -> None:
    """Draw `image` with its patch grid into `ax`; numbers the patches while they are readable."""
    height, width = image.shape[-2:]
    ax.imshow(pixels(image))
    for y in range(0, height + 1, patch_size):
        ax.axhline(y - 0.5, color="white", linewidth=1)
    for x in range(0, width + 1, patch_size):
        ax.axvline(x - 0.5, color="white", linewidth=1)
    rows, columns = height // patch_size, width // patch_size
    if numbers and rows * columns <= 64:
        for i in range(rows * columns):
            place = ((i % columns + 0.08) * patch_size, (i // columns + 0.1) * patch_size)
            ax.text(
                *place,
                str(i),
                color="white",
                fontsize=9 if rows > 4 else 12,
                va="top",
                bbox={"facecolor": "black", "alpha": 0.55, "pad": 1, "linewidth": 0},
            )
    ax.axis("off")


def cut(image: Tensor, patch_size: int) -> Tensor:
    """The patches of one image by slicing: (rows, columns, channels, patch, patch)."""
    rows, columns = (side // patch_size for side in image.shape[-2:])
    return torch.stack(
        [
            torch.stack(
                [
                    image[
                        :,
                        r * patch_size : (r + 1) * patch_size,
                        c * patch_size : (c + 1) * patch_size,
                    ]
                    for c in range(columns)
                ]
            )
            for r in range(rows)
        ]
    )


def pixels(image: Tensor) -> np.ndarray:
    """An image (channels, height, width) in [0, 1] as matplotlib wants it: channels last."""
    image = image.detach().float().cpu().clamp(0, 1)
    return image.expand(3, -1, -1).permute(1, 2, 0).numpy()
