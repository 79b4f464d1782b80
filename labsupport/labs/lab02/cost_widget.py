"""A widget to play with the price of attention: what it costs, and who hears whom."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from labsupport.labs.lab02.footprints import (
    COLOURS,
    VARIANTS,
    draw_footprint,
    filled_tokens,
    heard_by,
    rims,
)
from labsupport.notebook.widgets import Playable, png

Costs = Mapping[str, tuple[float, float]]  # variant -> (MACs, bytes)


def cost_explorer(
    image: Tensor,
    instance_map: Tensor,
    costs: Callable[[int, int], Costs],
    sides: Sequence[int],
    windows: Sequence[int],
    *,
    variant: str = "softmax",
    start: tuple[int, int] | None = None,
    token: tuple[float, float] = (0.5, 0.5),
) -> Playable:
    """Choose a kind of attention, a resolution and a window: cost bars and a token's footprint.

    `image` (channels, height, width) with its `instance_map` (height, width); `costs(side,
    window)` gives MACs and bytes of every variant on a map of side x side tokens. `token` is the
    place (down, across) of the token, each from 0 to 1; `start` is the first (side, window).
    """
    import ipywidgets

    side, window = start or (sides[0], windows[0])
    biggest = [
        max(cost[i] for s in sides for w in windows for cost in costs(s, w).values())
        for i in (0, 1)
    ]

    def choice(name: str, options: Sequence[Any], value: Any) -> Any:
        return ipywidgets.SelectionSlider(
            options=list(options), value=value, description=name, continuous_update=False
        )

    kinds = ipywidgets.ToggleButtons(options=list(VARIANTS), value=variant)
    resolution = choice("tokens a side", sides, side)
    size = choice("window", windows, window)
    down, across = (
        ipywidgets.FloatSlider(
            value=v, min=0, max=0.99, step=0.01, description=name, continuous_update=False
        )
        for v, name in zip(token, ("token: down", "across"))
    )

    def render(*_: Any) -> bytes:
        tokens = resolution.value
        place = int(down.value * tokens) * tokens + int(across.value * tokens)
        return _picture(image, instance_map, costs, kinds.value, tokens, size.value, place, biggest)

    picture = ipywidgets.Image(value=render(), format="png")
    for control in (kinds, resolution, size, down, across):
        control.observe(lambda _: setattr(picture, "value", render()), "value")
    controls = [kinds, ipywidgets.HBox([resolution, size]), ipywidgets.HBox([down, across])]
    return Playable(ipywidgets.VBox([*controls, picture]), picture.value)


def _picture(
    image: Tensor,
    instance_map: Tensor,
    costs: Callable[[int, int], Costs],
    variant: str,
    side: int,
    window: int,
    token: int,
    biggest: Sequence[float],
) -> bytes:
    fig = Figure(figsize=(11, 4.6), dpi=80, layout="constrained")
    left, middle, right = fig.subplots(1, 3, width_ratios=(1.15, 1, 1))
    filled = filled_tokens(instance_map, side)
    heard = heard_by(variant, side, window, token, filled)
    draw_footprint(left, image, heard, token, *rims(variant, side, window))
    many = f"hears {int(heard.sum()):,} of {side**2:,} tokens"
    left.set_title(
        f"{variant}: the orange token\n" + (many if heard.any() else "is empty and takes no part"),
        fontsize=12,
    )
    found = costs(side, window)
    for ax, i, name in ((middle, 0, "MACs"), (right, 1, "bytes between the two products")):
        values = [found[v][i] for v in VARIANTS]
        bars = ax.barh(VARIANTS, values, color=[COLOURS[v] for v in VARIANTS], alpha=0.35)
        bars[VARIANTS.index(variant)].set_alpha(1)
        for bar, value in zip(bars, values):
            ax.text(
                value * 1.15,
                bar.get_y() + bar.get_height() / 2,
                _three_digits(value),
                va="center",
                fontsize=11,
            )
        ax.set(xscale="log", xlim=(10**3, 60 * biggest[i]), title=name)
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
        if i:
            ax.set_yticks([])
    return png(fig)


def _three_digits(value: float) -> str:
    """A count in at most three digits and a unit: 1,234,567 is "1.23 M"."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"
