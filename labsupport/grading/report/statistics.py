"""Numbers about a class. None wherever a number would be made up, shown as "-"."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from labsupport.grading.report.data import Item, LabResults, Run

MOST_CERTAIN = 1.96  # standard normal quantile of a 95% interval
ENOUGH = 10  # graded answers that stand for others that wait
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
    """``ease``: mean share of the item's points, 0 to 1, of the ``count`` answers that have been
    graded; ``waiting`` wait for a person, ``blank`` students gave none. ``power``: the correlation
    of its points with those of all other items, with its 95% interval."""

    item: Item
    count: int
    ease: float | None
    full: int
    none: int
    waiting: int = 0
    blank: int = 0
    power: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def settled(self) -> bool:
        """Whether the mean may be laid beside another's. Where nothing waits it is the class's
        own, however small the class. Where answers wait it stands for them too: a mean of shares,
        each 0 to 1, of n of them may be off by as much as 1/sqrt(n), 0.3 for ``ENOUGH``; and a
        person grades in no random order, so those that wait must be the fewer."""
        if self.ease is None:
            return False
        return not self.waiting or (self.count >= ENOUGH and self.count > self.waiting)


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
    """Of every item. What a student left blank has 0 points, and is no answer that was wrong."""
    points = [_known(run) for run in results.graded]
    complete = [item.name for item in results.items if all(item.name in known for known in points)]
    found = []
    for item in results.items:
        runs = [known for known in points if item.name in known]
        own = [known[item.name] for known in runs]
        given = [
            known[item.name]
            for run, known in zip(results.graded, points, strict=True)
            if item.name in known and item.name not in run.blank
        ]
        # an item that waits for a person in some submissions would shift their sums
        others = [name for name in complete if name != item.name]
        rest = [sum(known[name] for name in others) for known in runs]
        power = correlation(own, rest) if others else None
        found.append(
            ItemStatistics(
                item,
                len(given),
                statistics.fmean(given) / item.points if given else None,
                sum(p >= item.points for p in given),
                sum(p == 0 for p in given),
                sum(run.points.get(item.name, 0.0) is None for run in results.graded),
                sum(item.name in run.blank for run in results.graded),
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
