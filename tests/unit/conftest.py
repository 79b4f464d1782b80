"""What tests of figures share: no window opens, and no figure is left behind."""

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture
def no_windows(monkeypatch):
    """`plt.show` shows nothing, and all figures are closed afterwards."""
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")
