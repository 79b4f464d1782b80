"""Charts: what they compute, and that they draw what they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from labsupport.notebook.plot import charts

pytestmark = pytest.mark.usefixtures("no_windows")


def test_exponents_of_power_laws_are_exact():
    x = [32, 48, 64, 96]
    found = charts.loglog_fit(
        x, {"tokens": [(s / 8) ** 2 for s in x], "attention": [3 * s**4 for s in x]}
    )
    assert found == {"tokens": pytest.approx(2), "attention": pytest.approx(4)}


@pytest.mark.parametrize("x, y", [([1], [1]), ([1, 2], [1]), ([1, 2], [0, 1])])
def test_a_fit_refuses_what_has_no_slope(x, y):
    with pytest.raises(ValueError, match="x and y"):
        charts.fit_exponent(x, y)


def test_labels_of_curves_that_end_apart_stay_at_the_ends():
    charts.lines([1, 2], {"a": [1, 1], "b": [1, 9]})
    assert [(t.get_text(), t.xyann) for t in plt.gca().texts] == [("a", (10, 0)), ("b", (10, 0))]


def test_numbers_of_an_axis_do_not_touch():
    charts.lines([100, 110, 1000, 3000, 9000, 10000], {"a": [0] * 6}, logx=True)
    axes = plt.gca()
    axes.figure.draw_without_rendering()
    shown = [label for label in axes.get_xticklabels() if label.get_text()]
    assert [t.get_text() for t in shown] == ["100", "1000", "3000", "10000"]
    boxes = [label.get_window_extent() for label in shown]
    assert all(one.x1 < other.x0 for one, other in zip(boxes, boxes[1:]))
    charts.lines([1, 2, 3], {"a": [0] * 3})
    assert [t.get_text() for t in plt.gca().get_xticklabels()] == ["1", "2", "3"]


def test_labels_of_curves_that_end_together_are_parted_in_order():
    curves = {
        "low": [0, 5],
        "nothing": [0, float("nan")],
        "same": [9, 5.1],
        "twin": [3, 5.1],
        "far": [0, 0],
    }
    charts.lines([1, 2], curves)
    plt.gcf().canvas.draw()
    labels = {t.get_text(): t for t in plt.gca().texts}
    assert set(labels) == set(curves)
    boxes = [text_box(labels[name]) for name in ("same", "twin", "low", "far")]  # top to bottom
    assert all(upper.y0 >= lower.y1 - 0.1 for upper, lower in zip(boxes, boxes[1:]))
    assert labels["far"].arrow_patch is None and labels["far"].xyann == (10, 0)
    assert all(labels[name].arrow_patch for name in ("low", "same", "twin"))


def text_box(annotation):
    """Where an annotation's words are, without its line."""
    return matplotlib.text.Text.get_window_extent(annotation)


def test_spread_moves_as_little_as_it_can():
    assert charts.spread_apart([3.0, 0.0, 9.0], 2) == [3.0, 0.0, 9.0]
    assert charts.spread_apart([5.0, 5.0], 2) == [6.0, 4.0]
    assert charts.spread_apart([0.0, 1.0, 1.5], 2) == pytest.approx([-7 / 6, 5 / 6, 17 / 6])
    assert charts.spread_apart([], 2) == []


def test_scaling_curves_draw_means_with_error_bars_and_single_runs_as_crosses():
    runs = [{"n": n, "test": t} for n, t in ((4, 0.2), (4, 0.4), (16, 0.5), (16, 0.7))]
    charts.scaling_curves(
        {"ViT, long run": runs, "ViT, yours": runs[:1]},
        x="n",
        panels={"test": "test"},
        chance=0.025,
    )
    (ax,) = plt.gcf().axes
    bar = ax.containers[0]
    assert bar.lines[0].get_ydata() == pytest.approx([30, 60])
    ends = [segment[:, 1] for segment in bar.lines[2][0].get_segments()]
    assert ends[0] == pytest.approx([30 - 200**0.5, 30 + 200**0.5])
    cross = [line for line in ax.lines if line.get_marker() == "x"]
    assert len(cross) == 1 and cross[0].get_color() == bar.lines[0].get_color()


def test_tables_escape_html_and_refuse_ragged_rows():
    table = charts.Table(["a", "b"], [["<x>", 1]], title="T")
    assert "&lt;x&gt;" in table._repr_html_() and repr(table).splitlines()[0] == "T"
    with pytest.raises(ValueError, match="rows"):
        charts.Table(["a", "b"], [[1]])
