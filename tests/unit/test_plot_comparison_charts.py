"""Charts that compare: they say means, spreads and ratios, and mark ours."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from labsupport.notebook.plot import comparison_charts as comparisons
from labsupport.notebook.plot.style import BLUE

pytestmark = pytest.mark.usefixtures("no_windows")


def said(fig=None):
    fig = fig or plt.gcf()
    return " ".join(t.get_text() for ax in fig.axes for t in ax.texts)


def test_bars_say_mean_and_spread_and_mark_ours():
    comparisons.bars({"a": [0.5, 0.7], "b": [0.4]}, highlight=["a"], line=(0.45, "guess"))
    assert "60.0 ± 14.1" in said() and "40.0" in said() and "guess" in said()
    blue = [p for p in plt.gca().patches if p.get_facecolor() == matplotlib.colors.to_rgba(BLUE)]
    assert [p.get_width() for p in blue] == [pytest.approx(60)]


def test_growth_says_the_last_ratio_and_allows_missing_ends():
    comparisons.growth([1, 2, 4], {"x": [1.0, 2, 4], "y": [2.0, 8]}, "x", title="t")
    assert "4.0 ×" in said()
    assert len(plt.gcf().axes) == 2


def test_race_joins_ours():
    comparisons.race([("us-1", 5, 70), ("us-2", 20, 80), ("them", 10, 75)], "us")
    assert list(plt.gca().lines[0].get_xdata()) == [5, 20]
    assert {"us-1", "us-2", "them"} <= set(said().split())
