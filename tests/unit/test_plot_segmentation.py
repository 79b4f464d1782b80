"""Pictures of segmentations: a colour for every class, answers below their images."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from labsupport.notebook.plot import segmentation as segmaps

pytestmark = pytest.mark.usefixtures("no_windows")


def test_paint_gives_each_class_its_colour():
    picture = segmaps.paint(torch.tensor([[0, 1], [2, 3]]))
    assert picture.shape == (3, 2, 2)
    colours = {tuple(picture[:, i, j].tolist()) for i in range(2) for j in range(2)}
    assert len(colours) == 4
    blue = matplotlib.colors.to_rgb(segmaps.COLOURS[1])
    assert picture[:, 0, 1].tolist() == pytest.approx(list(blue))


def test_segmentations_are_drawn_below_the_images():
    images, classes = torch.rand(3, 3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.long)
    segmaps.show_segmentations(images, {"right": classes, "found": classes}, ["none", "one"])
    assert [ax.get_ylabel() for ax in plt.gcf().axes[::3]] == ["image", "right", "found"]
