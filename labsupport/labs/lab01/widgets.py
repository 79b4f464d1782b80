"""Widgets of lab 01: an image in patches of several sizes, and where a patch attends."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from einops import rearrange
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import Tensor, nn

from labsupport.notebook.plot.images import draw_grid
from labsupport.notebook.plot.maps import attention_in_words, draw_attention
from labsupport.notebook.plot.style import ink
from labsupport.notebook.widgets import Drawn, Picture, Playable, choice, column, drawn, row


@torch.no_grad()
def attention_maps(model: nn.Module, images: Tensor, attention: Callable, heads: int) -> Tensor:
    """Attention weights of every block: (depth, batch, heads, tokens + 1, tokens + 1).

    `model` is lab 01's VisionTransformer, `images` are (batch, channels, height, width). Listens
    to the output of each block's `attn.qkv`, laid out (3, heads, head_dim), and hands queries and
    keys to `attention(q, k, v) -> (output, weights)`. Index 0 of both token axes is the class
    token; the last axis is the one that is attended to.
    """
    maps: list[Tensor] = []

    def listen(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        q, k, v = rearrange(output, "b n (three h d) -> three b h n d", three=3, h=heads)
        maps.append(attention(q, k, v)[1])

    hooks = [block.attn.qkv.register_forward_hook(listen) for block in model.blocks]
    try:
        model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(maps)


def patch_chooser(image: Tensor, patch_sizes: Sequence[int], start: int | None = None) -> Playable:
    """A choice of patch sizes over `image` (channels, height, width) with its token grid.

    Every patch size must divide height and width, or ValueError is raised.
    """
    height, width = image.shape[-2:]
    wrong = [p for p in patch_sizes if height % p or width % p]
    if wrong:
        raise ValueError(f"patch_sizes: {wrong[0]} does not divide the image, {height} x {width}")

    def render(patch_size: int) -> Drawn:
        fig = Figure(figsize=(5.2, 5.6), dpi=80, layout="constrained")
        ax = fig.subplots()
        draw_grid(ax, image, patch_size)
        rows, columns = height // patch_size, width // patch_size
        tokens = rows * columns
        numbers = f"{len(image)} · {patch_size}² = {len(image) * patch_size**2:,} numbers"
        pairs = f"{tokens**2:,} pairs for attention to compare"
        ax.set_title(
            f"patch {patch_size} px: {tokens:,} tokens of {numbers},\n{pairs}", fontsize=12
        )
        return drawn(
            fig,
            f"The image under a grid of {rows} × {columns} patches of {patch_size} pixels: "
            f"{tokens:,} tokens of {numbers}, {pairs}.",
        )

    sizes = choice("patch size", patch_sizes, start or patch_sizes[0])
    picture = Picture(render(sizes.value))
    sizes.observe(lambda change: picture.show(render(change["new"])), "value")
    return Playable(column(sizes, picture.widget), picture.shown)


def attention_explorer(
    images: Tensor,
    maps: Tensor,
    patch_size: int,
    titles: Sequence[str],
    *,
    layer: int = -1,
    token: int = 0,
) -> Playable:
    """Choose a patch, see where it attends: lists for image, layer, head and token.

    `images` is (batch, channels, height, width), `maps` comes from :func:`attention_maps`. The
    buttons are the token grid for a mouse, each in the mean colour of its patch; the list of
    tokens does the same by keyboard. It opens at the given `layer` and patch `token`.
    """
    depth, _, heads = maps.shape[:3]
    rows, columns = (side // patch_size for side in images.shape[-2:])
    names = [f"patch {i}: row {i // columns}, column {i % columns}" for i in range(rows * columns)]
    # the values of `tokens` are indices into maps: 0 is the class token
    image = choice("image", [(title, i) for i, title in enumerate(titles)])
    layers = choice("layer", range(1, depth + 1), layer % depth + 1)
    head = choice("head", [("mean of the heads", 0), *[(str(h), h) for h in range(1, heads + 1)]])
    tokens = choice(
        "token", [(name, i) for i, name in enumerate(["class token", *names])], token + 1
    )
    buttons = [_patch_button(max(24, 288 // columns)) for _ in names]

    def colour() -> None:
        means = torch.nn.functional.avg_pool2d(images[image.value], patch_size)
        for button, rgb in zip(buttons, means.expand(3, -1, -1).flatten(1).T.tolist()):
            button.style.button_color = to_hex([min(max(v, 0.0), 1.0) for v in rgb])
            if button.style.has_trait("text_color"):  # ipywidgets 8
                button.style.text_color = ink(button.style.button_color)

    def render(*_: Any) -> None:
        for i, (button, name) in enumerate(zip(buttons, names)):
            chosen = i + 1 == tokens.value
            button.description = "✓" if chosen else ""
            button.tooltip = f"{name}, chosen" if chosen else name
        weights = maps[layers.value - 1, image.value, :, tokens.value]  # (heads, tokens + 1)
        picture.show(
            _attention_drawn(
                images[image.value],
                weights.mean(0) if head.value == 0 else weights[head.value - 1],
                patch_size,
                tokens.value,
                titles[image.value],
                f"layer {layers.value}, "
                + (f"head {head.value}" if head.value else "mean of the heads"),
            )
        )

    def choose(index: int) -> Callable[[Any], None]:
        def on_click(_: Any) -> None:
            tokens.value = index

        return on_click

    picture = Picture(Drawn(b"", "", 1))
    for i, button in enumerate(buttons, 1):
        button.on_click(choose(i))
    image.observe(lambda _: (colour(), render()), "value")
    for control in (layers, head, tokens):
        control.observe(render, "value")
    colour()
    render()
    grid = [row(*buttons[r * columns : (r + 1) * columns]) for r in range(rows)]
    side = column(image, layers, head, tokens, *grid)
    return Playable(row(side, picture.widget), picture.shown)


def _patch_button(side: int) -> Any:
    import ipywidgets

    size = f"{side}px"
    button = ipywidgets.Button(
        layout=ipywidgets.Layout(width=size, height=size, margin="1px", padding="0")
    )
    if button.has_trait("tabbable"):  # ipywidgets 8: not one of 64 stops of the tab key
        button.tabbable = False
    return button


def _attention_drawn(
    image: Tensor, weights: Tensor, patch_size: int, token: int, title: str, where: str
) -> Drawn:
    fig = Figure(figsize=(4.6, 5), dpi=80, layout="constrained")
    ax = fig.subplots()
    patch = token - 1 if token else None
    draw_attention(ax, image, weights[1:], patch_size, patch)
    who = f"patch {patch} (framed)" if token else "the class token"
    own = f"{weights[0]:.0%} goes to {'the class token' if token else 'itself'}"
    ax.set_title(f"{where}\nwhere {who} attends; bright is much,\n{own}", fontsize=12)
    told = attention_in_words(weights[1:], image.shape[-1] // patch_size, patch)
    who = f"patch {patch}" if token else "the class token"
    return drawn(
        fig,
        f"Image {title}. Where {who} attends in {where}: {own}; of the rest, "
        f"{told}. Rows and columns are counted from 0.",
    )
