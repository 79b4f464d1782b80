import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from labsupport.metrics.frechet import frechet_distance


def test_of_equal_sets_it_is_zero_and_it_knows_order_no():
    torch.manual_seed(0)
    a, b = torch.randn(200, 8), 2 * torch.randn(150, 8) + 1
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_of_normal_distributions_in_one_dimension():
    a = torch.tensor([[-1.0], [1.0]])  # mean 0, variance 2
    b = 3 * a + 5  # mean 5, variance 18
    assert frechet_distance(a, b) == pytest.approx(25 + (18**0.5 - 2**0.5) ** 2)


def test_it_is_that_of_torchmetrics():
    class Features(nn.Module):
        num_features = 6

        def forward(self, images):
            return images[:, 0, :2, :3].flatten(1)

    torch.manual_seed(0)
    first, second = torch.rand(300, 3, 4, 4), torch.rand(300, 3, 4, 4) ** 2
    metric = FrechetInceptionDistance(
        feature=Features(), normalize=True, input_img_size=(3, 4, 4)
    ).set_dtype(torch.float64)
    metric.used_custom_model = True
    metric.update(first, real=True)
    metric.update(second, real=False)
    ours = frechet_distance(*(Features()(x) for x in (first, second)))
    assert ours == pytest.approx(metric.compute().item(), rel=1e-4)


def test_one_vector_is_too_few():
    with pytest.raises(ValueError, match="two vectors"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))
