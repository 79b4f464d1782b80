"""Charts, drawings and the widget of dense prediction: they draw what they are given."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from labsupport.data.rules import rule_scenes
from labsupport.labs.lab03 import diagrams as blueprints
from labsupport.labs.lab03.resolution_widget import resolution_explorer
from labsupport.notebook.plot import comparison_charts as comparisons
from labsupport.notebook.plot import segmentation as segmaps
from labsupport.notebook.plot.style import BLUE, PALETTE


@pytest.fixture(autouse=True)
def quiet_and_clean(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


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


def test_drawings_say_the_sizes():
    blueprints.show_orders(1024, 16)
    assert "1,024 × 1,024" in said() and "16 × 16" in said()
    assert "34 million" in plt.gcf().axes[0].get_title(loc="left")
    blueprints.show_module()
    assert "attention" in said()


def test_paint_gives_each_class_its_colour():
    picture = segmaps.paint(torch.tensor([[0, 1], [2, 3]]))
    assert picture.shape == (3, 2, 2)
    colours = {tuple(picture[:, i, j].tolist()) for i in range(2) for j in range(2)}
    assert len(colours) == 4
    blue = matplotlib.colors.to_rgb(PALETTE[0])
    assert picture[:, 0, 1].tolist() == pytest.approx(list(blue))


def test_segmentations_are_drawn_below_the_images():
    images, classes = torch.rand(3, 3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.long)
    segmaps.show_segmentations(images, {"right": classes, "found": classes}, ["none", "one"])
    assert [ax.get_ylabel() for ax in plt.gcf().axes[::3]] == ["image", "right", "found"]


def test_resolution_widget_redraws_and_wants_times_for_every_picture():
    class Say(nn.Module):
        def forward(self, images):
            return torch.stack([images[:, 0] * 0 + c for c in range(4)], 1)

    pictures = [rule_scenes(1, side, seed=1) for side in (48, 64)]
    nets, seconds = {"a": Say(), "b": Say()}, {"a": [0.1, 0.2, 0.3], "b": [0.2, 0.4, 0.9]}
    shown = resolution_explorer(nets, pictures, seconds, (48, 64, 96), start=64)
    slider, picture = shown.widget.children
    before = bytes(picture.value)
    assert slider.value == 64 and before.startswith(b"\x89PNG") and shown.still == before
    slider.value = 48
    assert bytes(picture.value) != before
    with pytest.raises(ValueError, match="pictures: no time was measured at 48 px, only at 64"):
        resolution_explorer(nets, pictures, seconds, (64, 96))
