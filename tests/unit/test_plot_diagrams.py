"""Diagrams: boxes with a word in them, and arrows."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgba

from labsupport.notebook.plot.diagrams import arrow, box
from labsupport.notebook.plot.style import GREEN, GREY

pytestmark = pytest.mark.usefixtures("no_windows")


def test_a_box_is_filled_and_its_word_stands_in_its_middle():
    _, ax = plt.subplots()
    box(ax, (1, 2), 4, 1, "norm", GREEN, size=9)
    (drawn,), (word,) = ax.patches, ax.texts
    assert drawn.get_facecolor() == to_rgba(GREEN)
    assert drawn.get_path().get_extents().bounds == pytest.approx((1, 2, 4, 1))
    assert (word.get_text(), word.get_position(), word.get_size()) == ("norm", (3, 2.5), 9)


def test_an_arrow_leads_from_start_to_end():
    _, ax = plt.subplots()
    arrow(ax, (0.1, 0.2), (0.8, 0.9), linewidth=2)
    (drawn,) = ax.texts
    assert drawn.xyann == (0.1, 0.2) and drawn.xy == (0.8, 0.9)
    assert drawn.arrow_patch.get_edgecolor() == to_rgba(GREY)
    assert drawn.arrow_patch.get_linewidth() == 2
