"""Pictures of the report: scores, and what became of every exercise. SVG, in the labs' colours."""

import base64
import io
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure  # not pyplot: there is no screen to show it on

from labsupport.grading.report.data import Item, LabResults
from labsupport.grading.report.statistics import Description, ItemStatistics
from labsupport.notebook.plot import style

WIDTHS = (0.25, 0.5, 1, 2, 5, 10, 20, 50)  # of a histogram's bars, in points
LOW = 0.2  # below this an item does not tell good work from poor
INK = "#1b1f24"  # of letters and edges: stands out from white and from every colour below
# label, colour, hatch (nothing is told by colour alone), statuses
OUTCOMES = (
    ("full points", style.BLUE, "", ("passed",)),
    ("part of the points", style.SKY, "//", ("part",)),
    ("wrong answer", style.ORANGE, "\\\\", ("failed",)),
    ("error", style.RED, "xx", ("error",)),
    ("stopped or died", style.PURPLE, "..", ("timeout", "crashed", "out of memory")),
    ("not to be trusted", "black", "", ("tampered",)),
    ("not answered", "#DDDDDD", "", ("missing", "not reached")),
    ("waits for a person", "white", "||", ("waits",)),
    ("exempt", "#F3EFE0", "--", ("exempt",)),
)


@dataclass
class Picture:
    """An image as a data URI, and what it shows in words."""

    source: str
    alt: str


def score_picture(scores: list[float], most: float, about: Description) -> Picture | None:
    """A histogram of scores whose bars stand at round numbers of points; None without scores."""
    if not scores or about.median is None:
        return None
    width = next((w for w in WIDTHS if most / w <= 24), most / 20)
    count = round(most / width)
    edges = [(i - 0.5) * width for i in range(count + 2)]
    figure = Figure(figsize=(9, 2.9), layout="constrained", facecolor="white")
    axes = figure.subplots()
    found, *_ = axes.hist(
        [min(max(s, 0), most) for s in scores],
        bins=edges,
        color=style.BLUE,
        edgecolor="white",
        linewidth=0.8,
    )
    heights = np.asarray(found)
    axes.axvline(about.median, color=style.RED, linestyle="--", linewidth=1.6)
    left = about.median > most / 2
    axes.annotate(
        f"median {about.median:g}",
        (about.median, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if left else 6, -4),
        textcoords="offset points",
        va="top",
        ha="right" if left else "left",
        color=INK,
        fontsize=11,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
    )
    axes.set(xlabel=f"points of {most:g}", ylabel="students", xlim=(edges[0], edges[-1]))
    axes.set_ylim(0, float(heights.max()) * 1.18)
    axes.locator_params(axis="y", integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    peak = heights.argmax()
    alt = (
        f"Histogram of {len(scores)} scores out of {most:g} points, from {about.lowest:g} to "
        f"{about.highest:g}, median {about.median:g}. The most frequent score is about "
        f"{peak * width:g}, with {heights[peak]:g} students."
    )
    return Picture(_source(figure), alt)


def item_picture(results: LabResults, about: list[ItemStatistics]) -> Picture | None:
    """For every item, what became of it (left) and how well it discriminates (right)."""
    runs = len(results.graded)
    if not runs or not results.items:
        return None
    rows = len(results.items)
    figure = Figure(figsize=(9, 1.5 + 0.36 * rows), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
    table = [outcomes(results, item) for item in results.items]
    start = [0.0] * rows
    for label, colour, hatch, statuses in OUTCOMES:
        shares = [100 * sum(row.get(s, 0) for s in statuses) / runs for row in table]
        if any(shares):
            left.barh(
                range(rows),
                shares,
                left=start,
                color=colour,
                hatch=hatch,
                height=0.72,
                edgecolor=INK,
                linewidth=0.7,
                label=label,
            )
            start = [a + b for a, b in zip(start, shares, strict=True)]
    left.set(xlim=(0, 100), xlabel=f"% of {runs} submissions")
    left.set_yticks(range(rows), [item.name for item in results.items])
    left.invert_yaxis()
    _draw_power(right, about)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *left.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9.5,
    )
    said = "; ".join(
        f"{s.item.name}: {t.get('passed', 0)} of {runs} with full points, "
        f"discrimination {'-' if s.power is None else f'{s.power:.2f}'}"
        for s, t in zip(about, table, strict=True)
    )
    return Picture(
        _source(figure),
        f"What became of each exercise, and how well it tells good work from poor. {said}.",
    )


def _draw_power(axes, about: list[ItemStatistics]) -> None:
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(LOW, color=style.GREY, linewidth=0.8, linestyle=":")
    for row, found in enumerate(about):
        if found.power is None:
            axes.text(-0.97, row, "-", va="center", color=style.GREY)
            continue
        colour = style.BLUE if found.power >= LOW else style.RED
        if found.interval:
            axes.plot(found.interval, (row, row), color=colour, linewidth=1.6)
        axes.plot(found.power, row, "o" if found.power >= LOW else "D", color=colour, markersize=6)
    axes.set(xlim=(-1, 1), xlabel="discrimination, 95% interval")
    axes.tick_params(axis="y", length=0)


def outcomes(results: LabResults, item: Item) -> dict[str, int]:
    """How often each status came about; written answers have "passed", "part", "failed" by their
    points, and "waits"."""
    count: dict[str, int] = {}
    for run in results.graded:
        points = run.points.get(item.name)
        if item.name in run.exempt:
            status = "exempt"
        elif item.name in run.verdicts and not item.by_hand:
            status = run.verdicts[item.name][0]
        elif item.name in run.blank:
            status = "missing"
        elif points is None:
            status = "waits" if item.name in run.points else "missing"
        elif points >= item.points:
            status = "passed"
        else:
            status = "part" if points > 0 else "failed"
        count[status] = count.get(status, 0) + 1
    return count


def _source(figure: Figure) -> str:
    """As a data URI. Letters become outlines, so it looks the same everywhere; no time stamp, so
    the same results give the same page."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "labs report"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
