"""Hidden patches are covered, and the widget paints what its controls say."""

import matplotlib.pyplot as plt
import pytest
import torch

from labsupport.labs.lab07.mask_widget import mask_explorer
from labsupport.labs.lab07.reconstructions import COVER, hide, show_rows
from labsupport.models.masking import grid_noise, random_noise
from tests.unit.widgets import control, said


def test_hide_covers_whole_patches_and_nothing_else():
    images = torch.rand(2, 3, 4, 6) * 0.5
    mask = torch.tensor([[1.0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]])
    hidden = hide(images, mask, 2)
    assert (hidden[0, :, :2, :2] == COVER).all() and (hidden[0, :, 2:, 4:] == COVER).all()
    assert torch.equal(hidden[0, :, :2, 2:], images[0, :, :2, 2:])
    assert torch.equal(hidden[1], images[1])


def test_rows_of_different_length_are_drawn(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.gcf().axes)))
    show_rows({"three": torch.rand(3, 3, 4, 4), "two": torch.rand(2, 3, 4, 4)}, title="rows")
    plt.close("all")
    assert shown == [6]


def test_explorer_asks_for_what_the_controls_say():
    pytest.importorskip("ipywidgets")
    asked = []

    def paint(images, noise, ratio):
        asked.append((images.clone(), noise.clone(), ratio))
        return images, images

    images = torch.rand(2, 3, 8, 8)
    shown = mask_explorer(
        images,
        ["one", "two"],
        paint,
        {"random": random_noise, "grid": grid_noise},
        (2, 2),
        ratio=0.5,
    )
    which, kind = control(shown.widget, "image"), control(shown.widget, "hide by")
    percent, again = control(shown.widget, "hidden, %"), control(shown.widget, "another mask")
    assert asked[-1][2] == 0.5 and torch.equal(asked[-1][0], images[:1])
    percent.value = 75
    assert asked[-1][2] == 0.75
    assert torch.equal(asked[-1][1], asked[-2][1])  # the same mask, only larger
    again.click()
    assert not torch.equal(asked[-1][1], asked[-2][1])
    which.value = 1
    assert torch.equal(asked[-1][0], images[1:])
    kind.value = "grid"
    assert asked[-1][1].argmin() == 0  # the one patch of this grid that is kept
    assert "two" in said(shown.widget) and "1 of 4 patches" in said(shown.widget)
    assert shown.still.png.startswith(b"\x89PNG")
