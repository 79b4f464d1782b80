"""Charts that compare systems: bars with error bars, growth side by side, a race."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator

from labsupport.notebook.plot.ending import show
from labsupport.notebook.plot.style import BLUE, EDGE, GREY, ORANGE, line_of
from labsupport.notebook.plot.words import curves_in_words, entitled, listed, number


def bars(
    groups: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    xlabel: str = "",
    highlight: Sequence[str] = (),
    line: tuple[float, str] | None = None,
    percent: bool = True,
    alt: str = "",
) -> None:
    """A horizontal bar for the mean of each of `groups` (label -> one value a seed).

    Single runs are dots, the standard deviation over them an error bar. Labels in `highlight` are
    bold and their bars blue, the others hatched grey; `line` is a value to compare with, and what
    it is. `alt` is said before the values.
    """
    factor = 100 if percent else 1
    values = {label: [factor * v for v in runs] for label, runs in groups.items()}
    fig, ax = plt.subplots(figsize=(9, 0.62 * len(values) + 1.5), layout="constrained")
    places = range(len(values))[::-1]
    for y, (label, runs) in zip(places, values.items()):
        spread = stdev(runs) if len(runs) > 1 else None
        ax.barh(
            y,
            mean(runs),
            xerr=spread,
            capsize=4,
            height=0.62,
            color=BLUE if label in highlight else "#DDDDDD",
            hatch="" if label in highlight else "///",
            edgecolor=EDGE,
            linewidth=0.9,
            error_kw={"ecolor": "black", "elinewidth": 1.5},
        )
        ax.plot(runs, [y] * len(runs), "o", color="black", markersize=5.5, markeredgecolor="white")
        shown = f"{mean(runs):.1f}" + (f" ± {spread:.1f}" if spread is not None else "")
        ax.text(max(max(runs), mean(runs) + (spread or 0)), y, f"  {shown}", va="center")
    if line:
        ax.axvline(line[0] * factor, color="black", linestyle=":", linewidth=1.5)
        ax.text(line[0] * factor, len(values) - 0.5, line[1], ha="center", va="bottom", fontsize=11)
    ax.set_yticks(places, list(values))
    for tick, label in zip(ax.get_yticklabels(), values):
        tick.set_fontweight("bold" if label in highlight else "normal")
    top = max(max(runs) for runs in values.values())
    ax.set(xlabel=xlabel, xlim=(0, 1.18 * top), ylim=(-0.6, len(values) - 0.1))
    ax.set_title(title, pad=12)
    ax.tick_params(axis="y", length=0)
    said = [
        f"{' '.join(label.split())} {number(mean(runs))}"
        + (f" ± {number(stdev(runs))}" if len(runs) > 1 else "")
        for label, runs in values.items()
    ]
    words = f"{alt} Bars of {xlabel}, from the top: {listed(said)}."
    if line:
        words += f" A dotted line marks {number(line[0] * factor)}: {line[1]}."
    show(fig, entitled(title, words))


def growth(
    x: Sequence[float],
    seconds: Mapping[str, Sequence[float]],
    base: str,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "milliseconds",
) -> None:
    """Time against `x` on logarithmic axes, and beside it how many times that of `base` it is.

    `seconds` maps a label to one value for each of `x`; missing ones at the end are left out.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
    ticks = [f"{v:g}" for v in x]
    ratios = {}
    for i, (label, y) in enumerate(seconds.items()):
        n = len(y)
        left.plot(x[:n], [1000 * s for s in y], label=label, **line_of(i))
        if label == base:
            continue
        ratio = np.array(y) / np.array(seconds[base][:n])
        ratios[label] = x[:n], ratio
        right.plot(x[:n], ratio, **line_of(i))
        right.annotate(
            f"{ratio[-1]:.1f} ×",
            (x[n - 1], ratio[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            weight="bold",
        )
    left.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title="time of one image")
    right.axhline(1, **line_of(list(seconds).index(base), markers=False))
    right.set(xscale="log", yscale="log", xlabel=xlabel, title=f"times as long as {base}")
    marks = [
        m
        for m in (0.5, 1, 2, 5, 10, 20, 50, 100)
        if right.get_ylim()[0] <= m <= right.get_ylim()[1]
    ]
    right.set_yticks(marks, [f"{m:g} ×" for m in marks])
    for ax in (left, right):
        ax.set_xticks(list(x), ticks)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.grid(alpha=0.25)
    right.yaxis.set_minor_locator(NullLocator())
    left.legend()
    fig.suptitle(title)
    times = {label: (x[: len(y)], [1000 * s for s in y]) for label, y in seconds.items()}
    words = (
        f"Left, both axes logarithmic: {curves_in_words(times, xlabel=xlabel, ylabel=ylabel)} "
        f"Right, times as long as {base}: {curves_in_words(ratios)}"
    )
    show(fig, entitled(title, words))


def race(
    rows: Sequence[tuple[str, float, float]],
    highlight: str,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    distance: bool = False,
) -> None:
    """Quality against cost: `rows` of (name, cost, quality), up and to the left is better; with
    `distance`, less is better, on a logarithmic axis whose small numbers are above.

    Names that begin with `highlight` are blue dots joined by a line; the others orange squares.
    """
    fig, ax = plt.subplots(figsize=(9.5, 5.4), layout="constrained")
    ours = sorted((cost, good) for name, cost, good in rows if name.startswith(highlight))
    ax.plot(*zip(*ours), "-", color=BLUE)
    for name, cost, good in rows:
        mine = name.startswith(highlight)
        look = {"marker": "o" if mine else "s", "color": BLUE if mine else ORANGE}
        ax.plot(cost, good, linestyle="none", markeredgecolor=EDGE, markeredgewidth=0.9, **look)
        ax.annotate(
            name,
            (cost, good),
            xytext=(-7, 6) if mine else (7, -12),
            textcoords="offset points",
            fontsize=11,
            color="black" if mine else GREY,
            ha="right" if mine else "left",
        )
    ax.margins(y=0.12)  # room for the lowest name
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
    costs = [cost for _, cost, _ in rows]
    room = (max(costs) / min(costs)) ** 0.25  # for the names at both ends
    lowest, highest = min(costs) / room, max(costs) * room
    round_numbers = [m * 10**e for e in range(-1, 4) for m in (1, 2, 5)]
    marks = [m for m in round_numbers if lowest <= m <= highest]
    ax.set_xticks(marks, [f"{m:g}" for m in marks])
    ax.set_xlim(lowest, highest)
    ax.xaxis.set_minor_locator(NullLocator())
    if distance:
        ax.set_yscale("log")
        least, most = ax.get_ylim()
        marks = [m for m in round_numbers if least <= m <= most]
        ax.set_yticks(marks, [f"{m:g}" for m in marks])
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_ylim(most, least)
    ax.grid(alpha=0.25)
    best = "less is better and drawn higher" if distance else "more is better"
    said = [
        f"{name} {number(good)} at {number(cost)}"
        for name, cost, good in sorted(rows, key=lambda row: row[1])
    ]
    words = f"Up: {ylabel}, {best}; across: {xlabel}, logarithmic. By cost: {listed(said)}."
    show(fig, entitled(title, words))
