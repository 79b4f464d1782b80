"""Pictures and widget of kept windows."""

import matplotlib.pyplot as plt
import pytest
import torch

from labsupport.labs.lab05 import kept_windows
from labsupport.labs.lab05.sparsity_widget import sparsity_explorer
from tests.unit.widgets import control, said


@pytest.fixture
def figures(monkeypatch):
    """The figures that were shown."""
    found = []
    monkeypatch.setattr(plt, "show", lambda: found.append(plt.gcf()))
    yield found
    plt.close("all")


def test_foreground_share_is_counted_window_by_window():
    shows = torch.zeros(1, 8, 8, dtype=torch.bool)
    shows[0, :2, :4] = True
    expected = torch.tensor([[[0.5, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(kept_windows.foreground_share(shows, 2), expected)


def test_what_is_left_out_is_dark(figures):
    keep = torch.tensor([[[True, False], [False, False]]])
    kept_windows.show(torch.ones(1, 3, 8, 8), {"some": keep}, title="kept")
    drawn = figures[0].axes[1].images[0].get_array()
    assert drawn[0, 0].min() == 1 and drawn[0, 7].max() == pytest.approx(kept_windows.DARK)


def test_curves_begin_with_the_dense_net(figures):
    kept_windows.curves(
        {"task": {"score": {0.5: [40.0, 50.0]}}}, {"task": [70.0, 72.0]}, ylabels={"task": "mIoU"}
    )
    line = figures[0].axes[0].containers[0][0]
    assert list(line.get_xdata()) == [0, 50] and list(line.get_ydata()) == [71, 45]


def test_trade_sorts_by_time_and_cloud_marks_layouts(figures):
    kept_windows.trade({"way": [(3.0, [1.0]), (1.0, [2.0])]})
    assert list(figures[0].axes[0].containers[0][0].get_xdata()) == [1, 3]
    kept_windows.search_cloud([(0.5, 60.0), (0.7, 70.0)], {"best": [(0.7, 70.0)]})
    assert len(figures[1].axes[0].lines) == 2
    kept_windows.show_heat(torch.rand(2, 3, 8, 8), {"map": torch.rand(2, 4, 4)})
    assert len(figures[2].axes) == 4


def test_explorer_asks_once_for_each_setting_of_its_sliders():
    asked = []

    def ask(first, second):
        asked.append((first, second))
        keep = torch.ones(2, 2, dtype=torch.bool)
        return keep, keep, torch.ones(16, 16, dtype=torch.long)

    playable = sparsity_explorer(
        torch.rand(3, 16, 16),
        torch.ones(16, 16, dtype=torch.long),
        (0.0, 0.5),
        {"score": ask},
        lambda a, b: 2 - a - b,
        start=(0.0, 0.5),
    )
    first = said(playable.widget)
    assert first == playable.still.words and playable.still.png.startswith(b"\x89PNG")
    skipped = control(playable.widget, "skipped in stage 1")
    skipped.value = 0.5
    assert said(playable.widget) != first
    skipped.value = 0.0
    assert said(playable.widget) == first
    assert asked == [(0.0, 0.5), (0.5, 0.5)]
