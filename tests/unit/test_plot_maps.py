"""Maps: similarities and attention."""

import numpy as np
import pytest
import torch

from labsupport.notebook.plot import maps

pytestmark = pytest.mark.usefixtures("no_windows")


def test_similarity_mosaic_has_ones_on_its_own_places():
    positions = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    mosaic = maps.similarity_mosaic(positions, (2, 3))
    assert mosaic.shape == (2 * 3 - 1, 3 * 4 - 1)
    for r in range(2):
        for c in range(3):
            assert mosaic[r * 3 + r, c * 4 + c] == pytest.approx(1)
    assert np.isnan(mosaic[2]).all()


def test_attention_darkens_what_gets_none():
    weights = torch.tensor([1.0, 0, 0, 0, 0, 0.5])
    bright = maps.brightness(IMAGE, weights, 4)
    assert bright.shape == (1, 8, 12)
    assert bright[0, 0, 0] == 1 and bright[0, 0, 4] == pytest.approx(0.15)
    assert bright[0, 7, 11] == pytest.approx(0.15 + 0.85 / 2)


IMAGE = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))
