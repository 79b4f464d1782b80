"""Charts with axes: scaling laws, curves, error bars over seeds, tables."""

from collections.abc import Mapping, Sequence
from html import escape
from statistics import mean, stdev

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import NullLocator

from labsupport.notebook.plot.ending import show
from labsupport.notebook.plot.style import EDGE, GREY, PALETTE, line_of, outlined
from labsupport.notebook.plot.words import counted, curves_in_words, entitled, listed, number


def fit_exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of log y against log x by least squares: p where y grows as x to the power p.

    Raises ValueError for fewer than two points, or values that have no logarithm.
    """
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"x and y have {len(x)} and {len(y)} values; a slope needs two of each")
    if min(*x, *y) <= 0:
        raise ValueError("x and y must be positive: they are fitted on logarithmic axes")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def loglog_fit(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
) -> dict[str, float]:
    """Draw each of `curves` (label -> values at `x`) on logarithmic axes with its fitted line.

    Returns label -> fitted exponent.
    """
    fig, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    exponents = {}
    for i, (label, y) in enumerate(curves.items()):
        slope = exponents[label] = fit_exponent(x, y)
        shift = np.mean(np.log(y)) - slope * np.mean(np.log(x))
        ends = np.array([min(x), max(x)], dtype=float)
        ax.plot(ends, np.exp(shift) * ends**slope, color=GREY, linewidth=1)
        look = line_of(i) | {"linestyle": "none"}
        ax.plot(x, y, label=f"{label}: exponent {slope:.2f}", **look)
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
    ax.set_xticks(list(x), [f"{v:g}" for v in x])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(alpha=0.25)
    ax.legend()
    told = [f"{label} with exponent {slope:.2f}" for label, slope in exponents.items()]
    words = (
        f"Both axes logarithmic; up: {ylabel}; across: {xlabel}, {number(min(x))} to "
        f"{number(max(x))}. Straight lines, thin, are fitted: {listed(told)}."
    )
    show(fig, entitled(title, words))
    return exponents


def lines(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    logx: bool = False,
    alt: str = "",
) -> None:
    """Draw each of `curves` (label -> values at `x`) as a line with its label at the right end.
    `alt` is said before how each of them goes.

    Where curves end close together their labels are moved apart and tied to the ends by thin lines.
    """
    fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    ends = []
    for i, (label, y) in enumerate(curves.items()):
        ax.plot(x, y, **line_of(i))
        ends.append(
            ax.annotate(
                label,
                (x[-1], y[-1]),
                xytext=(10, 0),
                textcoords="offset points",
                va="center",
                annotation_clip=False,
            )
        )
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale="log" if logx else "linear")
    ax.set_xticks(list(x), [f"{v:g}" for v in x])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(alpha=0.25)
    _part_labels(ax, ends)
    _thin_numbers(ax)
    told = curves_in_words(
        {label: (x, y) for label, y in curves.items()}, xlabel=xlabel, ylabel=ylabel
    )
    show(fig, entitled(title, f"{alt} {told}"))


def spread_apart(places: Sequence[float], gap: float) -> list[float]:
    """`places` moved until neighbours are at least `gap` apart, by the least sum of squares.

    They keep their order; of equal ones the first comes out highest. (With i * gap taken off the
    i-th smallest this is isotonic regression, and pooling adjacent violators solves it.)
    """
    order = sorted(range(len(places)), key=lambda i: (places[i], -i))
    groups: list[tuple[float, int]] = []  # mean of the group, without the gaps; how many are in it
    for rank, i in enumerate(order):
        groups.append((places[i] - rank * gap, 1))
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            (low, n), (high, m) = groups[-2:]
            groups[-2:] = [((low * n + high * m) / (n + m), n + m)]
    moved = [value for value, n in groups for _ in range(n)]
    found = [0.0] * len(places)
    for rank, i in enumerate(order):
        found[i] = moved[rank] + rank * gap
    return found


def _thin_numbers(ax: Axes) -> None:
    """Leave out numbers below the axis that touch others; the first and the last stay."""
    ax.figure.draw_without_rendering()
    texts = [label.get_text() for label in ax.get_xticklabels()]
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    apart = 4 * ax.figure.dpi / 72
    end = boxes[0].x1
    for i in range(1, len(boxes) - 1):
        if boxes[i].x0 < end + apart or boxes[i].x1 + apart > boxes[-1].x0:
            texts[i] = ""
        else:
            end = boxes[i].x1
    ax.set_xticks(ax.get_xticks(), texts)


def _part_labels(ax: Axes, labels: Sequence[Annotation]) -> None:
    """Move labels of curve ends apart, up and down; labels that touch get a line to their end."""
    ax.figure.draw_without_rendering()  # only now are limits, heights and the layout known
    labels = [label for label in labels if np.isfinite(label.xy[1])]  # others are drawn nowhere
    points = 72 / ax.figure.dpi
    ends = [points * ax.transData.transform(label.xy)[1] for label in labels]
    gap = max((points * label.get_window_extent().height for label in labels), default=0.0)
    places = spread_apart(ends, gap)
    for i, (label, end, place) in enumerate(zip(labels, ends, places)):
        if all(abs(place - other) > 1.01 * gap for other in places[:i] + places[i + 1 :]):
            continue
        ax.annotate(
            label.get_text(),
            label.xy,
            xytext=(26, place - end),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": GREY,
                "linewidth": 0.9,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 4,
            },
        )
        label.remove()


def draw_runs(
    ax: Axes,
    x: Sequence[float],
    runs: Sequence[Sequence[float]],
    label: str,
    number: int,
    colour: str | None = None,
) -> None:
    """Draw into `ax`, as its series of that `number`, the mean of the `runs` at each of `x` (one
    value a seed) with their standard deviation as an error bar, none where there is one run."""
    deviations = [stdev(run) if len(run) > 1 else 0.0 for run in runs]
    means = [mean(run) for run in runs]
    look = line_of(number, colour)
    drawn = ax.errorbar(x, means, yerr=deviations, capsize=4, ecolor=EDGE, label=label, **look)
    for part in (*drawn[1], *drawn[2]):  # caps and bars are thin and have no rim
        part.set(path_effects=[], linewidth=1.2)
    for cap in drawn[1]:
        cap.set_markeredgewidth(1.2)


def scaling_curves(
    curves: Mapping[str, Sequence[dict]],
    *,
    x: str,
    panels: Mapping[str, str],
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    chance: float | None = None,
    alt: str = "",
) -> None:
    """Accuracy against amount of data: mean over runs with its standard deviation.

    `curves` maps a label to records; `x` is their key for the amount of data, and `panels` maps
    the title of each panel to the key of the accuracy in it (0 to 1, drawn in percent). Records
    with the same `x` are repeats with other seeds; single ones are drawn as crosses, without an
    error bar. Labels that begin with the same word ("ViT, ...") share a colour; no two have the
    same marker. `alt` is said before how each curve goes.
    """
    fig, axes = plt.subplots(
        1,
        len(panels),
        figsize=(5.6 * len(panels), 4.4),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    colours: dict[str, str] = {}
    told = [alt] if alt else []
    for ax, (name, y) in zip(axes.flat, panels.items()):
        drawn = {}
        for i, (label, records) in enumerate(curves.items()):
            first = label.split(",")[0]
            colour = colours.setdefault(first, PALETTE[len(colours) % len(PALETTE)])
            places = sorted({record[x] for record in records})
            runs = [[100 * r[y] for r in records if r[x] == place] for place in places]
            drawn[f"{label} ({counted(max(map(len, runs)), 'run')})"] = (
                places,
                list(map(mean, runs)),
            )
            if all(len(run) == 1 for run in runs):
                ax.plot(
                    places,
                    [run[0] for run in runs],
                    "x" if i % 2 else "+",
                    color=colour,
                    label=label,
                    markersize=11,
                    markeredgewidth=3,
                    path_effects=outlined(3),
                )
                continue
            draw_runs(ax, places, runs, label, i, colour)
        told.append(f"{name}: {curves_in_words(drawn, unit='%')}")
        if chance is not None:
            ax.axhline(100 * chance, color="black", linestyle=":", linewidth=1)
            ax.text(
                0.99,
                100 * chance + 1,
                "chance",
                ha="right",
                fontsize=10,
                transform=ax.get_yaxis_transform(),
            )
        ticks = sorted({record[x] for records in curves.values() for record in records})
        ax.set(xscale="log", xlabel=xlabel, title=name, ylim=(0, 100))
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.grid(alpha=0.25)
        ax.legend(fontsize=10)
    axes[0, 0].set_ylabel(ylabel)
    if title:
        fig.suptitle(title)
    axis = f"Up: {ylabel}; across: {xlabel}, logarithmic."
    if chance is not None:
        axis += f" Chance is {100 * chance:.3g}%, a dotted line."
    show(fig, entitled(title, f"{axis} {' '.join(told)}"))


class Table:
    """A small table that shows itself as HTML in a notebook and as text elsewhere."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = ""):
        self.columns, self.title = list(columns), title
        if not all(str(name).strip() for name in self.columns):
            raise ValueError("columns: one has no name; it is read aloud before each of its values")
        self.rows = [[str(value) for value in row] for row in rows]
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"rows: every row needs {len(self.columns)} values, one has {len(row)}"
                )

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        text = ["  ".join(v.ljust(w) for v, w in zip(line, widths)).rstrip() for line in lines]
        return "\n".join(([self.title] if self.title else []) + text)

    def _repr_html_(self) -> str:
        cell = "padding:5px 12px;text-align:left;vertical-align:top"

        def line(values: Sequence[str], tag: str) -> str:
            return (
                "<tr>"
                + "".join(f'<{tag} style="{cell}">{escape(value)}</{tag[:2]}>' for value in values)
                + "</tr>"
            )

        head = f"<caption><b>{escape(self.title)}</b></caption>" if self.title else ""
        body = "".join(line(row, "td") for row in self.rows)
        names = line(self.columns, 'th scope="col"')
        return f"<table>{head}<thead>{names}</thead><tbody>{body}</tbody></table>"
