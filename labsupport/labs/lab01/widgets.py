"""Widgets of lab 01: a slider of patch sizes, and where a patch attends."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from einops import rearrange
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import Tensor, nn

from labsupport.notebook.plot.images import draw_grid
from labsupport.notebook.plot.maps import draw_attention
from labsupport.notebook.plot.style import ORANGE
from labsupport.notebook.widgets import Playable, png


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


def patch_slider(image: Tensor, patch_sizes: Sequence[int], start: int | None = None) -> Playable:
    """A slider of patch sizes over `image` (channels, height, width) with its token grid.

    Every patch size must divide height and width, or ValueError is raised.
    """
    import ipywidgets

    height, width = image.shape[-2:]
    wrong = [p for p in patch_sizes if height % p or width % p]
    if wrong:
        raise ValueError(f"patch_sizes: {wrong[0]} does not divide the image, {height} x {width}")

    def render(patch_size: int) -> bytes:
        fig = Figure(figsize=(5.2, 5.6), dpi=80, layout="constrained")
        ax = fig.subplots()
        draw_grid(ax, image, patch_size)
        tokens = (height // patch_size) * (width // patch_size)
        ax.set_title(
            f"patch {patch_size} px: {tokens:,} tokens of {len(image)} · {patch_size}² = "
            f"{len(image) * patch_size**2:,} numbers,\n"
            f"{tokens**2:,} pairs for attention to compare",
            fontsize=12,
        )
        return png(fig)

    start = start or patch_sizes[0]
    picture = ipywidgets.Image(value=render(start), format="png")
    slider = ipywidgets.SelectionSlider(
        options=list(patch_sizes), value=start, description="patch size", continuous_update=False
    )
    slider.observe(lambda change: setattr(picture, "value", render(change["new"])), "value")
    return Playable(ipywidgets.VBox([slider, picture]), picture.value)


def attention_explorer(
    images: Tensor,
    maps: Tensor,
    patch_size: int,
    titles: Sequence[str],
    *,
    layer: int = -1,
    token: int = 0,
) -> Playable:
    """Click a patch, see where it attends: sliders for image, layer and head.

    `images` is (batch, channels, height, width), `maps` comes from :func:`attention_maps`. The
    buttons are the token grid, each in the mean colour of its patch. It opens at the given
    `layer` and patch `token`.
    """
    import ipywidgets

    depth, _, heads = maps.shape[:3]
    rows, columns = (side // patch_size for side in images.shape[-2:])
    layer = layer % depth
    state = {"token": token + 1}  # index into maps: 0 is the class token

    # sizes are fixed: a row of widgets would otherwise stretch the picture to its own height
    picture = ipywidgets.Image(
        format="png", layout=ipywidgets.Layout(width="400px", height="435px", margin="0 0 0 12px")
    )
    image = ipywidgets.Dropdown(options=[(t, i) for i, t in enumerate(titles)], description="image")
    layers = ipywidgets.IntSlider(value=layer + 1, min=1, max=depth, description="layer")
    names = ["mean", *map(str, range(1, heads + 1))]
    head = ipywidgets.SelectionSlider(options=names, value="mean", description="head")
    side = f"{max(24, 288 // columns)}px"
    buttons = [
        ipywidgets.Button(
            tooltip="class token",
            description="class token",
            layout=ipywidgets.Layout(width="auto", height="30px"),
        )
    ]
    for i in range(rows * columns):
        buttons.append(
            ipywidgets.Button(
                tooltip=f"patch {i}: row {i // columns}, column {i % columns}",
                layout=ipywidgets.Layout(width=side, height=side, margin="1px", padding="0"),
            )
        )

    def colour() -> None:
        means = torch.nn.functional.avg_pool2d(images[image.value], patch_size)
        for button, rgb in zip(buttons[1:], means.expand(3, -1, -1).flatten(1).T.tolist()):
            button.style.button_color = to_hex([min(max(v, 0.0), 1.0) for v in rgb])

    def render(*_: Any) -> None:
        for i, button in enumerate(buttons):
            button.layout.border = f"3px solid {ORANGE}" if i == state["token"] else "none"
        weights = maps[layers.value - 1, image.value, :, state["token"]]  # (heads, tokens + 1)
        chosen = weights.mean(0) if head.value == "mean" else weights[int(head.value) - 1]
        picture.value = _attention_png(
            images[image.value],
            chosen,
            patch_size,
            state["token"],
            f"layer {layers.value}, {_head(head.value)}",
        )

    def choose(index: int) -> Callable[[Any], None]:
        def on_click(_: Any) -> None:
            state["token"] = index
            render()

        return on_click

    for i, button in enumerate(buttons):
        button.on_click(choose(i))
    image.observe(lambda _: (colour(), render()), "value")
    layers.observe(render, "value")
    head.observe(render, "value")
    colour()
    render()
    lines = [ipywidgets.HBox(buttons[1 + r * columns : 1 + (r + 1) * columns]) for r in range(rows)]
    left = ipywidgets.VBox([image, layers, head, buttons[0], *lines])
    return Playable(ipywidgets.HBox([left, picture]), picture.value)


def _attention_png(
    image: Tensor, weights: Tensor, patch_size: int, token: int, where: str
) -> bytes:
    fig = Figure(figsize=(4.6, 5), dpi=100, layout="constrained")
    ax = fig.subplots()
    draw_attention(ax, image, weights[1:], patch_size, token - 1 if token else None)
    who = f"patch {token - 1} (orange)" if token else "the class token"
    own = "itself" if token == 0 else "the class token"
    ax.set_title(
        f"{where}\nwhere {who} attends; bright is much,\n{weights[0]:.0%} goes to {own}",
        fontsize=12,
    )
    return png(fig)


def _head(name: str) -> str:
    return "mean of the heads" if name == "mean" else f"head {name}"
