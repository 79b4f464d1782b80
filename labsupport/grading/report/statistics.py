"""Numbers about a class. None wherever a number would be made up, shown as "-"."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from labsupport.grading.report.data import Item, LabResults, Run

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
    points = [_known(run) for run in results.graded]
    complete = [item.name for item in results.items if all(item.name in known for known in points)]
    found = []
    for item in results.items:
        runs = [known for known in points if item.name in known]
        own = [known[item.name] for known in runs]
        # an item that waits for a person in some submissions would shift their sums
        others = [name for name in complete if name != item.name]
        rest = [sum(known[name] for name in others) for known in runs]
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


def _known(run: Run) -> dict[str, float]:
    """A submission's points by item, of the items that have been graded."""
    return {name: points for name, points in run.points.items() if points is not None}


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
    runs = [k for run in results.graded if set(names) <= set(k := _known(run))]
    if len(runs) < FEWEST or len(names) < 2:
        return None
    whole = statistics.variance([sum(known[n] for n in names) for known in runs])
    if whole == 0:
        return None
    parts = sum(statistics.variance([known[n] for known in runs]) for n in names)
    return len(names) / (len(names) - 1) * (1 - parts / whole)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value that this share of ``values`` does not exceed; None of fewer than ``FEWEST``."""
    if len(values) < FEWEST:
        return None
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]
