"""Pictures of images rebuilt scale by scale: aligned, and following their controls."""

import matplotlib.pyplot as plt
import pytest
import torch

from labsupport.labs.lab08 import scale_figures
from labsupport.labs.lab08.scale_widget import scale_explorer
from tests.unit.widgets import control, said

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture
def drawn(monkeypatch):
    """The figure that was shown last."""
    monkeypatch.setattr(plt, "show", lambda: None)
    yield plt.gcf
    plt.close("all")


def test_rows_are_aligned_with_and_without_titles(drawn):
    rows = {label: torch.rand(n, 3, 4, 4, generator=GENERATOR) for label, n in (("a", 3), ("b", 2))}
    scale_figures.show_rows(rows, ["one", "two", "three"])
    (ax,) = drawn().axes
    lefts = [image.get_extent()[0] for image in ax.images]
    assert len(lefts) == 5 and lefts[:2] == lefts[3:]
    assert {text.get_text() for text in ax.texts} == {"a", "b", "one", "two", "three"}


def test_losses_are_smoothed_over_the_steps_before(drawn):
    scale_figures.show_losses({"run": [1.0, 3.0, 5.0]}, smooth=2)
    (line,) = drawn().axes[0].lines
    assert line.get_xdata().tolist() == [2, 3] and line.get_ydata().tolist() == [2.0, 4.0]


def test_scales_are_named_by_their_codes_so_far(drawn):
    scale_figures.show_scales([10.0, 20.0], (1, 2), 25.0, "+ residual")
    labels = [label.get_text() for label in drawn().axes[0].get_xticklabels()]
    assert labels == ["1×1\n1 code", "2×2\n5 codes", "+ residual"]


def test_use_is_shown_in_percent_the_most_used_first(drawn):
    scale_figures.show_use({"run": torch.tensor([1, 0, 3])})
    heights = [bar.get_height() for bar in drawn().axes[0].patches]
    assert heights == [75.0, 25.0, 0.0]


def test_the_explorer_follows_both_lists():
    stages = torch.rand(3, 2, 3, 4, 4, generator=GENERATOR)
    shown = scale_explorer(
        stages,
        ["1 × 1", "2 × 2", "+ residual"],
        stages[-1],
        ["first", "second"],
        [[10.0, 11.0]] * 3,
    )
    scale = control(shown.widget, "up to")
    assert scale.value == 2 and "first" in said(shown.widget)
    scale.value = 0
    assert "rebuilt up to 1 × 1: 10.0 dB" in said(shown.widget)
    control(shown.widget, "image").value = 1
    assert "second" in said(shown.widget) and "1 × 1: 11.0 dB" in said(shown.widget)
