import pytest
import torch
import torch.nn.functional as F

from labsupport.models.hart.quantizer import MultiScaleQuantizer


@pytest.fixture
def quantizer():
    torch.manual_seed(0)
    return MultiScaleQuantizer(32, 6, (1, 2, 4)).double()


@pytest.fixture
def latent():
    torch.manual_seed(1)
    return torch.randn(3, 6, 4, 4, dtype=torch.float64)


def slowly(quantizer, latent):
    """Written from the papers' algorithm, one vector at a time."""
    codes = quantizer.codebook.weight
    rest, total, found = latent.clone(), torch.zeros_like(latent), []
    for scale, phi in zip(quantizer.scales, quantizer.phi, strict=True):
        block = 4 // scale
        grid = torch.zeros(len(latent), 6, scale, scale, dtype=latent.dtype)
        for b in range(len(latent)):
            for row in range(scale):
                for column in range(scale):
                    cell = rest[
                        b, :, row * block : (row + 1) * block, column * block : (column + 1) * block
                    ].mean(dim=(1, 2))
                    index = min(range(len(codes)), key=lambda i: (codes[i] - cell).norm().item())
                    found.append((b, scale, index))
                    grid[b, :, row, column] = codes[index]
        if scale < 4:
            grid = F.interpolate(grid, size=(4, 4), mode="bicubic")
            grid = 0.5 * grid + 0.5 * F.conv2d(grid, phi.weight, phi.bias, padding=1)
        rest, total = rest - grid, total + grid
    order = [index for b in range(len(latent)) for own, _, index in found if own == b]
    return torch.tensor(order).view(len(latent), -1), total


def test_codes_and_sums_are_those_of_the_algorithm(quantizer, latent):
    made = quantizer(latent)
    indices, total = slowly(quantizer, latent)
    assert torch.equal(made.indices, indices)
    assert torch.allclose(made.discrete, total)
    assert torch.allclose(quantizer.accumulate(indices), total)


def test_what_is_left_at_the_end_is_latent_minus_code(quantizer, latent):
    made = quantizer(latent)
    last = quantizer.codebook(made.indices[:, -16:]).mT.view(3, 6, 4, 4)
    assert torch.allclose(made.before_last - last, latent - made.discrete)


def test_gradients_pass_straight_through_and_the_loss_has_its_two_sides(quantizer, latent):
    latent.requires_grad_()
    made = quantizer(latent)
    weight = torch.randn_like(latent)
    (made.discrete * weight).sum().backward(retain_graph=True)
    assert torch.allclose(latent.grad, weight)
    assert quantizer.codebook.weight.grad is None
    latent.grad = None
    made.loss.backward()
    assert latent.grad.abs().sum() > 0 and quantizer.codebook.weight.grad.abs().sum() > 0
    sums = quantizer.partial_sums(made.indices)
    expected = sum(1.25 * F.mse_loss(total, latent) for total in sums) / 3
    assert torch.allclose(made.loss, expected)
    # the latent is drawn to every partial sum with weight 0.25
    pull = sum(0.25 * 2 * (latent - total) / latent.numel() for total in sums) / 3
    assert torch.allclose(latent.grad, pull)


def test_more_scales_leave_less(quantizer, latent):
    sums = quantizer.partial_sums(quantizer(latent).indices)
    assert len(sums) == 3
    assert (latent - sums[-1]).norm() < (latent - sums[0]).norm()


def test_inputs_are_the_map_so_far_at_the_next_scale(quantizer, latent):
    indices = quantizer(latent).indices
    inputs = quantizer.inputs(indices)
    assert inputs.shape == (3, 4 + 16, 6)
    sums = quantizer.partial_sums(indices[:, :5])
    assert len(sums) == 2
    assert torch.allclose(inputs[:, :4], F.avg_pool2d(sums[0], 2).flatten(2).mT)
    assert torch.allclose(inputs[:, 4:], sums[1].flatten(2).mT)
    assert torch.allclose(quantizer.next_input(sums[1], 2), inputs[:, 4:])


@pytest.mark.parametrize("scales", [(2, 1), (1, 1, 2), (0, 2)])
def test_scales_have_to_grow(scales):
    with pytest.raises(ValueError, match="scales"):
        MultiScaleQuantizer(4, 2, scales)
