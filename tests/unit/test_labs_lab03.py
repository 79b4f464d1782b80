"""Lab 03's room: low resolution, drawings, and the widget of resolutions."""

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from labsupport.data.rule_scenes import rule_scenes
from labsupport.labs.lab03 import diagrams as blueprints
from labsupport.labs.lab03.dense_prediction import downscale
from labsupport.labs.lab03.resolution_widget import resolution_explorer
from tests.unit.widgets import control, said

pytestmark = pytest.mark.usefixtures("no_windows")


def test_downscale_averages():
    images = torch.rand(1, 3, 16, 16)
    small = downscale(images)
    assert small.shape == (1, 3, 8, 8)
    assert small.mean().item() == pytest.approx(images.mean().item(), abs=0.02)
    assert downscale(torch.full((1, 3, 8, 8), 0.3), 4).allclose(torch.tensor(0.3), atol=1e-5)


def written(fig=None):
    fig = fig or plt.gcf()
    return " ".join(t.get_text() for ax in fig.axes for t in ax.texts)


def test_drawings_say_the_sizes():
    blueprints.show_orders(1024, 16)
    assert "1,024 × 1,024" in written() and "16 × 16" in written()
    assert "34 million" in plt.gcf().axes[0].get_title(loc="left")
    blueprints.show_module()
    assert "attention" in written()


def test_resolution_widget_redraws_and_wants_times_for_every_picture():
    class Say(nn.Module):
        def forward(self, images):
            return torch.stack([images[:, 0] * 0 + c for c in range(4)], 1)

    pictures = [rule_scenes(1, side, seed=1) for side in (48, 64)]
    nets, seconds = {"a": Say(), "b": Say()}, {"a": [0.1, 0.2, 0.3], "b": [0.2, 0.4, 0.9]}
    shown = resolution_explorer(nets, pictures, seconds, (48, 64, 96), start=64)
    pixels = control(shown.widget, "pixels a side")
    assert pixels.value == 64 and shown.still.png.startswith(b"\x89PNG")
    assert "64 × 64" in said(shown.widget) == shown.still.words
    pixels.value = 48
    assert "48 × 48" in said(shown.widget)
    with pytest.raises(ValueError, match="pictures: no time was measured at 48 px, only at 64"):
        resolution_explorer(nets, pictures, seconds, (64, 96))
