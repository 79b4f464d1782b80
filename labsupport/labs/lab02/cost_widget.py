"""A widget to play with the price of attention: what it costs, and who hears whom."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from labsupport.labs.lab02.footprints import (
    COLOURS,
    VARIANTS,
    draw_footprint,
    filled_tokens,
    heard_by,
    heard_in_words,
    rims,
)
from labsupport.notebook.plot.style import EDGE
from labsupport.notebook.plot.words import listed
from labsupport.notebook.widgets import (
    Drawn,
    Picture,
    Playable,
    choice,
    column,
    drawn,
    row,
    whole_number,
)

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
    side, window = start or (sides[0], windows[0])
    biggest = [
        max(cost[i] for s in sides for w in windows for cost in costs(s, w).values())
        for i in (0, 1)
    ]

    kinds = choice("attention", VARIANTS, variant)
    resolution = choice("tokens a side", sides, side)
    size = choice("window", windows, window)
    down, across = (
        whole_number(name, 0, 99, round(100 * v), step=4)
        for v, name in zip(token, ("token: % down", "% across"))
    )

    def render() -> Drawn:
        tokens = resolution.value
        place = down.value * tokens // 100 * tokens + across.value * tokens // 100
        return _picture(image, instance_map, costs, kinds.value, tokens, size.value, place, biggest)

    picture = Picture(render())
    controls = (kinds, resolution, size, down, across)
    for control in controls:
        control.observe(lambda _: picture.show(render()), "value")
    return Playable(column(row(*controls), picture.widget), picture.shown)


def _picture(
    image: Tensor,
    instance_map: Tensor,
    costs: Callable[[int, int], Costs],
    variant: str,
    side: int,
    window: int,
    token: int,
    biggest: Sequence[float],
) -> Drawn:
    fig = Figure(figsize=(11, 4.6), dpi=80, layout="constrained")
    left, middle, right = fig.subplots(1, 3, width_ratios=(1.15, 1, 1))
    filled = filled_tokens(instance_map, side)
    heard = heard_by(variant, side, window, token, filled)
    draw_footprint(left, image, heard, token, *rims(variant, side, window))
    many = f"hears {int(heard.sum()):,} of {side**2:,} tokens"
    left.set_title(
        f"{variant}: the framed token\n" + (many if heard.any() else "is empty and takes no part"),
        fontsize=12,
    )
    found, said = costs(side, window), []
    for ax, i, name in ((middle, 0, "MACs"), (right, 1, "bytes between the two products")):
        values = [found[v][i] for v in VARIANTS]
        look = {"edgecolor": EDGE, "linewidth": 0.9}
        bars = ax.barh(VARIANTS, values, color=[COLOURS[v] for v in VARIANTS], **look)
        for kind, bar, value in zip(VARIANTS, bars, values):
            chosen = kind == variant
            bar.set(hatch="" if chosen else "///", facecolor=COLOURS[kind] if chosen else "white")
            ax.text(
                value * 1.15,
                bar.get_y() + bar.get_height() / 2,
                _three_digits(value) + (" ✓" if chosen else ""),
                va="center",
                fontsize=11,
                weight="bold" if chosen else "normal",
            )
        said.append(f"{name}: {listed(map(' '.join, zip(VARIANTS, map(_three_digits, values))))}")
        ax.set(xscale="log", xlim=(10**3, 60 * biggest[i]), title=name)
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
        if i:
            ax.set_yticks([])
    return drawn(
        fig,
        f"{variant}, {side} × {side} tokens, windows of {window}: the framed token at row "
        f"{token // side}, column {token % side} hears {heard_in_words(heard)}. {'; '.join(said)}.",
    )


def _three_digits(value: float) -> str:
    """A count in at most three digits and a unit: 1,234,567 is "1.23 M"."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"
