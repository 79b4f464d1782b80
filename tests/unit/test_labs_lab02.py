"""Lab 02's rooms: what a sweep records, who hears whom, and the widget."""

from itertools import accumulate

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from labsupport.labs.lab02 import cost_figures, footprints
from labsupport.labs.lab02 import cost_study as study
from labsupport.labs.lab02.cost_widget import cost_explorer
from labsupport.models.windows import WindowAttention, shifted_window_attention
from tests.unit.widgets import control, said

pytestmark = pytest.mark.usefixtures("no_windows")

FILLED = torch.zeros(6, 6, dtype=torch.bool)
FILLED[0, :5] = FILLED[4, 4] = True
IMAGE = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_a_sweep_takes_turns_and_keeps_the_fastest_round():
    order = []

    def maker(side):
        layer, x = nn.Linear(4, 4), torch.zeros(side * side, 4)
        return lambda: (order.append(side), layer(x))[1]

    times = iter([5.0, 7.0, 3.0, 9.0])
    records = study.cost_sweep(
        {"one": maker},
        {"one": (2, 3)},
        rounds=2,
        seconds=lambda fn: (fn(), next(times))[1],
        peak=lambda events: max(accumulate(events, initial=0)),
    )
    assert order[-4:] == [2, 3, 2, 3]
    assert [r["seconds"] for r in records] == [3.0, 7.0]
    assert [r["macs"] for r in records] == [4 * 16, 9 * 16]
    assert [r["bytes"] for r in records] == [4 * 16, 9 * 16]  # float32: four times four numbers
    assert study.series(records[::-1], "one", "macs") == ([4, 9], [64, 144])


def test_a_map_of_tokens_is_a_quarter_full_and_repeats():
    x, tokens, coords = study.map_of_tokens(6, 4)
    assert x.shape == (1, 6, 6, 4) and tokens.shape == (9, 4)
    assert len(torch.unique(coords, dim=0)) == 9
    assert torch.equal(x[0, coords[:, 0], coords[:, 1]], tokens)
    assert torch.equal(study.map_of_tokens(6, 4)[0], x)


def make_layer(number):
    torch.manual_seed(number)
    attend = WindowAttention(4, 2, 1).double()
    return lambda x: x + shifted_window_attention(x, attend, 2, number % 2)


def test_news_travels_by_one_window_in_two_layers_and_not_without_a_shift():
    for side in (2, 4, 6):
        tokens = range(side * side)
        assert study.layers_until_all_hear(make_layer, side, tokens, 4, most=9) == side - 1
    assert study.layers_until_all_hear(lambda i: make_layer(0), 4, [0], 4, most=5) is None


def test_footprints_are_what_a_gradient_says():
    x = torch.randn(1, 6, 6, 4, dtype=torch.float64)
    for variant, number in (("window", 0), ("shifted window", 1)):
        for token in range(36):
            heard = study.heard_after([make_layer(number)], x, token)
            assert torch.equal(footprints.heard_by(variant, 6, 2, token, FILLED), heard)
    assert footprints.heard_by("linear", 6, 2, 3, FILLED).all()


def test_sparse_footprints_are_groups_of_tokens_that_are_not_empty():
    heard = footprints.heard_by("sparse window", 6, 2, 0, FILLED)
    assert heard.nonzero().tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert not footprints.heard_by("sparse window", 6, 2, 6, FILLED).any()  # an empty token


def test_filled_tokens_hold_some_of_an_object():
    drawn = torch.zeros(12, 12, dtype=torch.uint8)
    drawn[3, 7] = 2
    assert footprints.filled_tokens(drawn, 6).nonzero().tolist() == [[1, 3]]


def test_figures_draw_a_panel_for_everything():
    footprints.show_footprints(IMAGE, FILLED, 2, 0, ["a"] * 5, title="t")
    assert len(plt.gcf().axes) == 5
    footprints.show_shift(IMAGE, 6, 2)
    assert len(plt.gcf().axes) == 3
    cost_figures.show_news(IMAGE, [FILLED, FILLED], ["one", "two"], 2)
    assert [ax.get_title() for ax in plt.gcf().axes] == ["one: 17%", "two: 17%"]
    both = {"softmax": [1.0, 4.0], "linear": [2.0, 3.0]}
    cost_figures.show_crossover([8, 16], both, both, {"MACs": 12.0, "seconds": None})
    assert [t.get_text() for ax in plt.gcf().axes for t in ax.texts] == ["N = 12"]


def test_every_control_of_the_cost_explorer_changes_the_picture():
    def costs(side, window):
        return {v: (1000.0 * side * window, 5000.0 * side) for v in footprints.VARIANTS}

    shown = cost_explorer(IMAGE, (IMAGE[0] > 0.5).byte(), costs, sides=(4, 8), windows=(2, 4))
    assert said(shown.widget) == shown.still.words and shown.still.png.startswith(b"\x89PNG")
    seen = {said(shown.widget)}
    changes = {"attention": "window", "tokens a side": 8, "window": 4}
    for name, value in (changes | {"token: % down": 8, "% across": 92}).items():
        control(shown.widget, name).value = value
        assert said(shown.widget) not in seen
        seen.add(said(shown.widget))
    assert "row 0, column 7" in said(shown.widget)
