"""Lab 04's room: masks and prompts drawn and said, and a widget that asks what was clicked."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from labsupport.data.click_scenes import click_scenes
from labsupport.data.clicks import clicks
from labsupport.labs.lab04.click_widget import click_explorer
from labsupport.labs.lab04.figures import (
    DARK,
    draw_mask,
    prompt_in_words,
    share_of,
    show_meanings,
    show_segments,
    show_stairs,
)
from tests.unit.widgets import alerts, control, parts, said


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


def test_what_a_mask_leaves_out_is_dark():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1:3, 1:3] = True
    _, ax = plt.subplots()
    draw_mask(ax, torch.full((3, 4, 4), 0.8), mask)
    shown = np.asarray(ax.images[0].get_array())
    assert np.allclose(shown[1, 1], 0.8) and np.allclose(shown[0, 0], 0.8 * DARK)
    assert ax.collections  # the line around it


def test_masks_and_prompts_in_words():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    assert share_of(mask) == "nothing"
    mask[0, 2:] = True
    assert share_of(mask) == "12% of the image around (2, 0)"
    assert prompt_in_words([], []) == "A prompt of nothing."
    assert prompt_in_words([(1, 2)], [0], (0, 1, 5, 6)) == (
        "A prompt of clicks, x and y: (1, 2) out and a box from (0, 1) to (5, 6)."
    )


def test_every_meaning_of_a_click_has_its_name():
    scenes = click_scenes(20, 32, seed=3)
    asked = clicks(scenes, 1, seed=1)
    row = int(asked.ambiguous.nonzero()[0])
    show_meanings(scenes, asked, [row])
    told = plt.gcf().get_label()
    for node in asked.meanings[row].tolist():
        if node >= 0:
            assert scenes.classes[int(scenes.labels[asked.image[row], node])] in told


def test_segments_are_counted_and_numbered_from_the_largest():
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :2, :2], masks[1, 3:, 3:] = True, True
    show_segments(torch.rand(1, 3, 8, 8), {"found": [masks]})
    numbers = {t.get_text(): t.get_position() for t in plt.gcf().axes[1].texts}
    assert numbers["1"][0] >= 3 > numbers["2"][0]
    assert "found: 2 masks" in plt.gcf().get_label()


def test_a_threshold_before_enlarging_makes_stairs():
    diagonal = torch.arange(8.0)[:, None] - torch.arange(8.0) + 0.3
    assert show_stairs(diagonal, 64)["pixels that differ"] > 50
    assert show_stairs(torch.ones(8, 8), 64)["pixels that differ"] == 0


def test_the_widget_asks_what_was_set():
    pytest.importorskip("ipywidgets")
    asked = []

    def answer(number, points, labels, boxes):
        asked.append((number, points, labels, boxes))
        masks = torch.zeros(3, 8, 8, dtype=torch.bool)
        masks[:, :4] = True
        return masks, torch.tensor([0.2, 0.7, 0.1])

    shown = click_explorer(torch.rand(2, 3, 8, 8), answer, [(4, 5), (1, 1)])
    assert asked[-1][1].tolist() == [[[4, 5]]] and asked[-1][2].tolist() == [[1]]
    assert "50% of the image" in said(shown.widget) and "0.70" in said(shown.widget)
    x, y = control(shown.widget, "x"), control(shown.widget, "y")
    x.value, y.value = 1, 2
    control(shown.widget, "out").click()
    assert asked[-1][1].tolist() == [[[4, 5], [1, 2]]] and asked[-1][2].tolist() == [[1, 0]]

    control(shown.widget, "start anew").click()
    assert "nothing" in said(shown.widget) and len(asked) == 2
    x.value, y.value = 6, 7
    control(shown.widget, "corner of a box").click()
    assert "across from it" in alerts(shown.widget) and len(asked) == 2
    x.value, y.value = 2, 3
    control(shown.widget, "corner of a box").click()
    assert asked[-1][1] is None and asked[-1][3].tolist() == [[2, 3, 7, 8]]
    assert alerts(shown.widget) == ""
    mouse = parts(shown.widget, "Pointer")[0]
    mouse.event = {"kind": "box", "from": [5, 6], "to": [1, 0], "number": 1}
    assert asked[-1][3].tolist() == [[1, 0, 6, 7]]
    mouse.event = {"kind": "out", "from": [7, 1], "to": None, "number": 2}
    assert asked[-1][1].tolist() == [[[7, 1]]] and asked[-1][2].tolist() == [[0]]
    mouse.event = {"kind": "in", "from": None, "to": None, "number": 3}  # where the ring is
    assert asked[-1][1].tolist() == [[[7, 1], [2, 3]]] and asked[-1][2].tolist() == [[0, 1]]
    control(shown.widget, "scene").value = 1
    assert asked[-1][0] == 1 and asked[-1][3] is None and asked[-1][1].tolist() == [[[1, 1]]]
    assert (x.value, y.value) == (1, 1)
    assert shown.still.png.startswith(b"\x89PNG")
