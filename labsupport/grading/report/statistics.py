"""Numbers about a class. None wherever a number would be made up, shown as "-"."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from labsupport.grading.report.data import Item, LabResults

MOST_CERTAIN = 1.96  # standard normal quantile of a 95% interval
FEWEST = 4  # students for a correlation: its interval needs n - 3 above zero


@dataclass
class Description:
    """Of scores: None where there are too few."""

    count: int
    mean: float | None = None
    deviation: float | None = None
    lowest: float | None = None
    lower: float | None = None  # quartile
    median: float | None = None
    upper: float | None = None
    highest: float | None = None


@dataclass
class ItemStatistics:
    """``ease``: mean share of the item's points, 0 to 1, of ``count`` students. ``power``: the
    correlation of its points with those of all other items, with its 95% interval."""

    item: Item
    count: int
    ease: float | None
    full: int
    none: int
    power: float | None = None
    interval: tuple[float, float] | None = None


def describe(values: Sequence[float]) -> Description:
    if not values:
        return Description(0)
    found = Description(
        len(values),
        statistics.fmean(values),
        lowest=min(values),
        median=statistics.median(values),
        highest=max(values),
    )
    if len(values) > 1:
        found.deviation = statistics.stdev(values)
    if len(values) >= FEWEST:
        found.lower, _, found.upper = statistics.quantiles(values, n=4, method="inclusive")
    return found


def item_statistics(results: LabResults) -> list[ItemStatistics]:
    """Of every item, over the submissions in which it has been graded."""
    complete = [
        item.name
        for item in results.items
        if all(run.points.get(item.name) is not None for run in results.graded)
    ]
    found = []
    for item in results.items:
        runs = [r for r in results.graded if r.points.get(item.name) is not None]
        own = [r.points[item.name] for r in runs]
        # an item that waits for a person in some submissions would shift their sums
        others = [name for name in complete if name != item.name]
        rest = [sum(r.points[name] for name in others) for r in runs]
        power = correlation(own, rest) if others else None
        found.append(
            ItemStatistics(
                item,
                len(own),
                statistics.fmean(own) / item.points if own else None,
                sum(p >= item.points for p in own),
                sum(p == 0 for p in own),
                power,
                interval_of(power, len(own)),
            )
        )
    return found


def correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's r; None for fewer than ``FEWEST`` pairs, or where either does not vary."""
    if len(x) < FEWEST or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return max(-1.0, min(1.0, statistics.correlation(x, y)))


def interval_of(r: float | None, count: int) -> tuple[float, float] | None:
    """The 95% interval of a correlation by Fisher's transformation."""
    if r is None or abs(r) >= 1 or count < FEWEST:
        return None
    reach = MOST_CERTAIN / math.sqrt(count - 3)
    return math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach)


def reliability(results: LabResults) -> float | None:
    """Cronbach's alpha over the submissions in which everything has been graded."""
    names = [item.name for item in results.items]
    runs = [r for r in results.graded if all(r.points.get(n) is not None for n in names)]
    if len(runs) < FEWEST or len(names) < 2:
        return None
    whole = statistics.variance([sum(r.points[n] for n in names) for r in runs])
    if whole == 0:
        return None
    parts = sum(statistics.variance([r.points[n] for r in runs]) for n in names)
    return len(names) / (len(names) - 1) * (1 - parts / whole)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value that this share of ``values`` does not exceed; None of fewer than ``FEWEST``."""
    if len(values) < FEWEST:
        return None
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]
