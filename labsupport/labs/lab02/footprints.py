"""Footprints of attention: which tokens one layer of each kind lets a token hear, as pictures."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from labsupport.notebook.plot.ending import finish
from labsupport.notebook.plot.images import pixels
from labsupport.notebook.plot.style import BLUE, GREEN, ORANGE, PURPLE, RED, frame_of
from labsupport.notebook.plot.words import counted, listed

VARIANTS = ("softmax", "window", "shifted window", "sparse window", "linear")
COLOURS = dict(zip(VARIANTS, (RED, BLUE, PURPLE, ORANGE, GREEN)))
MARKERS = dict(zip(VARIANTS, "osD^v"))  # so that lines are told apart without colours too


def filled_tokens(instance_map: Tensor, side: int) -> Tensor:
    """Tokens of a `side` x `side` map that hold some of an object: bool (side, side).

    `instance_map` (height, width) is 0 on the background.
    """
    drawn = (instance_map > 0).float()[None, None]
    return torch.nn.functional.adaptive_max_pool2d(drawn, side)[0, 0].bool()


def heard_by(variant: str, side: int, window: int, token: int, filled: Tensor) -> Tensor:
    """The tokens that `token` hears in one layer: bool (side, side).

    Tokens are numbered row by row. In sparse windows only tokens of `filled` (side, side) take
    part, in groups of window²; any other hears nothing.
    """
    place = torch.arange(side)
    row, column = divmod(token, side)
    if variant in ("softmax", "linear"):
        return torch.ones(side, side, dtype=torch.bool)
    if variant == "sparse window":
        return _group_of(token, filled, window)
    shift = window // 2 if variant == "shifted window" and side > window else 0
    block = (place - shift).div(window, rounding_mode="floor")
    return (block == block[row])[:, None] & (block == block[column])[None, :]


def _group_of(token: int, filled: Tensor, window: int) -> Tensor:
    # imported here: hidden while lab 02 is graded
    from labsupport.models.attention import sparse_groups

    heard = torch.zeros(filled.shape, dtype=torch.bool)
    if not filled.flatten()[token]:
        return heard
    coords = filled.nonzero()  # (tokens, 2), row by row
    numbers = coords[:, 0] * filled.shape[1] + coords[:, 1]
    groups = numbers[sparse_groups(coords, window, window**2)]  # (groups, size)
    own = next(group for group in groups if token in group)
    heard.flatten()[own] = True
    return heard


def draw_footprint(
    ax: Axes, image: Tensor, heard: Tensor, token: int, window: int | None = None, shift: int = 0
) -> None:
    """Draw `image` (channels, height, width), bright where `token` hears, dark elsewhere.

    `heard` is bool (side, side). The token has an orange frame; `window` draws the windows' rims.
    """
    side = len(heard)
    height, width = image.shape[-2:]
    bright = torch.nn.functional.interpolate(heard[None, None].float(), (height, width))[0]
    ax.imshow(pixels(image * (0.25 + 0.75 * bright)), extent=(0, side, side, 0))
    if window:
        for edge in [0, *range(shift, side, window), side]:
            ax.axhline(edge, color="white", linewidth=0.7)
            ax.axvline(edge, color="white", linewidth=0.7)
    row, column = divmod(token, side)
    ax.add_patch(Rectangle((column, row), 1, 1, **frame_of(ORANGE)))
    ax.set(xlim=(0, side), ylim=(side, 0))
    ax.axis("off")


def rims(variant: str, side: int, window: int) -> tuple[int | None, int]:
    """Window and shift whose rims are drawn for a variant; None for one without windows."""
    if variant in ("softmax", "linear"):
        return None, 0
    return window, window // 2 if variant == "shifted window" and side > window else 0


def show_footprints(
    image: Tensor,
    filled: Tensor,
    window: int,
    token: int,
    captions: Sequence[str] = (),
    *,
    title: str = "",
) -> None:
    """Draw what `token` hears in one layer of each of the five kinds of attention, side by side.

    `filled` is bool (side, side); `captions` has a line for each of `VARIANTS`.
    """
    import matplotlib.pyplot as plt

    side = len(filled)
    lines = 1 + max((caption.count("\n") + 1 for caption in captions), default=0)
    fig, axes = plt.subplots(
        1, len(VARIANTS), figsize=(13, 3.2 + 0.26 * lines), layout="constrained"
    )
    said = []
    for i, (ax, variant) in enumerate(zip(axes, VARIANTS)):
        heard = heard_by(variant, side, window, token, filled)
        draw_footprint(ax, image, heard, token, *rims(variant, side, window))
        ax.set_title(variant + (f"\n{captions[i]}" if captions else ""), fontsize=12)
        said.append(f"{variant} {heard_in_words(heard)}")
    words = (
        f"The same image five times, {side} × {side} tokens, bright where the framed token at row "
        f"{token // side}, column {token % side} hears in one layer: {listed(said)}."
    )
    if captions:
        words += f" Below: {'; '.join(f'{v}: {c}' for v, c in zip(VARIANTS, captions))}."
    finish(fig, title, words)


def heard_in_words(heard: Tensor) -> str:
    """How much of a map (side, side) is heard, and where."""
    if heard.all():
        return f"all {heard.numel():,} tokens"
    if not heard.any():
        return "nothing, for the token is empty"
    places = heard.nonzero()
    (top, left), (bottom, right) = places.amin(0).tolist(), places.amax(0).tolist()
    return f"{counted(len(places), 'token')}, in rows {top} to {bottom}, columns {left} to {right}"


def show_shift(image: Tensor, side: int, window: int, *, title: str = "") -> None:
    """Draw shifted windows on `image` (channels, height, width) as they lie, and as a cyclic shift
    makes them: rolled by half a window, the old windows, and where opposite rims meet (orange)."""
    import matplotlib.pyplot as plt

    shift = window // 2
    pixel = image.shape[-1] // side
    rolled = torch.roll(image, (-shift * pixel, -shift * pixel), dims=(-2, -1))
    fig, axes = plt.subplots(1, 3, figsize=(12, 4.9), layout="constrained")
    panels = (
        (image, 0, "a layer with windows"),
        (image, shift, "shifted windows, as they lie"),
        (rolled, 0, "rolled: equal windows, mixed at the rim"),
    )
    for ax, (shown, first, label) in zip(axes, panels):
        ax.imshow(pixels(shown), extent=(0, side, side, 0))
        for edge in [0, *range(first, side, window), side]:
            ax.axhline(edge, color="white", linewidth=2)
            ax.axvline(edge, color="white", linewidth=2)
        ax.set(xlim=(0, side), ylim=(side, 0), title=label)
        ax.axis("off")
    for draw in (axes[2].axhline, axes[2].axvline):
        draw(side - shift, color="black", linewidth=4.5)
        draw(side - shift, color=ORANGE, linewidth=3)
    words = (
        f"The image three times under a grid, {side} × {side} tokens: cut into windows of {window} "
        f"× {window}; cut {counted(shift, 'token')} further down and right, so that windows at the "
        "rim are smaller; and rolled as far, so that all windows are equal again and a thick line "
        "shows where opposite rims of the image meet inside the last windows."
    )
    finish(fig, title, words)
