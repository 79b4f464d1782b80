"""Lab 02's experiment: it counts exactly, and what is stored holds what the lab claims."""

import matplotlib.pyplot as plt
import pytest

from labsupport.data.results import read_result
from labsupport.experiments.lab02 import attention_cost
from labsupport.labs.lab02 import cost_figures


def test_the_experiment_counts_exactly_and_its_figure_can_be_drawn():
    records, exponents = attention_cost.run(few=(14, 28), many=(14, 28), large=0, rounds=1)
    for name, fit in exponents.items():
        assert fit["attention"] == pytest.approx(2 if "softmax" in name else 1, abs=0.01)
    fits = {
        name: {key: (value, 1.0) for key, value in fit.items()} for name, fit in exponents.items()
    }
    cost_figures.show_costs(records, fits, 300)
    assert len(plt.gcf().axes) == 3


def test_the_stored_run_holds_what_the_lab_claims():
    stored = read_result("02_attention_cost")
    settings = stored.settings
    sizes = settings["dim"], settings["heads"], settings["window"], settings["fitted_from_tokens"]
    assert sizes == (
        attention_cost.DIM,
        attention_cost.HEADS,
        attention_cost.WINDOW,
        attention_cost.LARGE,
    )
    expected = {"softmax": (2, 2, 2), "softmax, fused": (2, 1, 2)}
    assert set(stored.more["exponents"]) == set(attention_cost.makers())
    for name, fit in stored.more["exponents"].items():
        macs, memory, time = expected.get(name, (1, 1, 1))
        assert fit["attention"] == pytest.approx(macs, abs=0.01)
        assert fit["bytes"] == pytest.approx(memory, abs=0.1)
        assert fit["seconds"] == pytest.approx(time, abs=0.2)
