"""HART's transformer: who sees whom, teacher forcing against step by step, cache, positions."""

import pytest
import torch

from labsupport.models.hart.blocks import Block
from labsupport.models.hart.generator import keep_some
from labsupport.models.hart.parameter_counts import (
    block_parameters,
    diffusion_parameters,
    parameter_count,
)
from labsupport.models.hart.positions import (
    block_causal_mask,
    grid_angles,
    grid_coordinates,
    rotate,
    text_angles,
)
from labsupport.models.hart.residual import DenoisingMLP
from labsupport.models.hart.transformer import HartTransformer

SCALES = (1, 2, 3)
LENGTHS = [1, 4, 9]


def small(head: str = "codebook") -> HartTransformer:
    torch.manual_seed(0)
    net = HartTransformer(11, 4, SCALES, torch.randn(7, 5), dim=32, depth=2, heads=2, head=head)
    net.latent_scale.fill_(0.7)
    return net.eval()


def example() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randint(1, 11, (2, 4), generator=generator),
        torch.randn(2, 13, 5, generator=generator),
    )


def test_the_mask_is_open_within_a_block_and_closed_towards_later_ones():
    assert block_causal_mask([2, 1, 2]).int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
    ]


@pytest.mark.parametrize("head", ["codebook", "linear"])
def test_no_gradient_reaches_a_scale_from_a_later_one(head):
    net, (text, inputs) = small(head), example()
    for k, start in enumerate((0, 1, 5)):
        x = inputs.clone().requires_grad_()
        out = net(text, x)
        (grad,) = torch.autograd.grad(
            out.logits[:, start : start + LENGTHS[k]].square().sum() + 0 * x.sum(), x
        )
        seen = grad.abs().sum(dim=(0, 2)) > 0  # inputs are those of scales 2 and 3
        own = sum(LENGTHS[1 : k + 1])
        assert seen[:own].all() and not seen[own:].any()


@pytest.mark.parametrize("head", ["codebook", "linear"])
def test_teacher_forced_logits_are_those_of_step_by_step_with_and_without_cache(head):
    net, (text, inputs) = small(head), example()
    with torch.no_grad():
        whole = net(text, inputs)
        cache, start = net.new_cache(), 0
        for k, length in enumerate(LENGTHS):
            so_far = inputs[:, : start + length - 1] if k else None
            plain, cached = net(text, so_far), net(text, so_far, cache=cache)
            assert cached.logits.shape[1] == length
            for name in ("logits", "hidden"):
                expected = getattr(whole, name)[:, start : start + length]
                torch.testing.assert_close(
                    getattr(plain, name)[:, start:], expected, atol=1e-5, rtol=1e-5
                )
                torch.testing.assert_close(getattr(cached, name), expected, atol=1e-5, rtol=1e-5)
            start += length


def test_keeping_all_tokens_of_the_last_scale_is_keeping_none_out():
    net, (text, inputs) = small(), example()
    with torch.no_grad():
        torch.testing.assert_close(
            net(text, inputs, kept=torch.arange(9).expand(2, -1)).logits,
            net(text, inputs).logits,
            atol=1e-5,
            rtol=1e-5,
        )


def test_tokens_left_out_change_no_earlier_scale_and_those_kept_stay_in_their_places():
    net, (text, inputs) = small(), example()
    kept = torch.tensor([[0, 7], [3, 4]])
    with torch.no_grad():
        some, every = net(text, inputs, kept=kept), net(text, inputs)
    assert some.logits.shape[1] == 5 + 2
    torch.testing.assert_close(some.logits[:, :5], every.logits[:, :5], atol=1e-5, rtol=1e-5)
    changed = inputs.clone()
    changed[0, 4 + 7] += 1  # kept in image 0 as the second, absent in image 1
    changed[1, 4 + 7] += 1
    with torch.no_grad():
        again = net(text, changed, kept=kept)
    assert (again.logits[0, 6] != some.logits[0, 6]).any()
    torch.testing.assert_close(again.logits[1], some.logits[1])


def test_the_share_kept_is_that_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    counts = [keep_some(1, 4096, generator).shape[1] / 4096 for _ in range(400)]
    assert max(counts) <= 0.5 and 0.15 < sum(counts) / 400 < 0.22
    kept = keep_some(3, 9, generator)
    assert kept.shape[0] == 3 and kept.shape[1] >= 4
    assert all(len(set(row)) == len(row) for row in kept.tolist())


def test_every_scale_has_the_same_middle_and_a_larger_grid_lies_within_the_known_one():
    for scale in (1, 2, 5, 8, 12):
        assert grid_coordinates(scale, 8).mean(0).tolist() == pytest.approx([3.5, 3.5])
    assert grid_coordinates(8, 8)[:9].tolist() == [[0, i] for i in range(8)] + [[1, 0]]
    assert grid_coordinates(12, 8).min() > -0.5 and grid_coordinates(12, 8).max() < 7.5
    assert grid_coordinates(12, 12).max() == 11


def test_rotation_keeps_lengths_and_makes_products_depend_on_distance_alone():
    x = torch.randn(1, 1, 1, 16)
    angles = text_angles(9, 16)
    assert angles.shape == (9, 8) and grid_angles((1, 3), 16, 3, 4).shape == (10, 8)
    turned = rotate(x.expand(1, 1, 9, 16), angles)[0, 0]
    torch.testing.assert_close(turned.norm(dim=-1), x.norm().expand(9))
    products = turned @ turned.T
    torch.testing.assert_close(products[0, 3], products[5, 8])
    assert abs(products[0, 3] - products[0, 4]) > 1e-4


def test_a_caption_of_another_length_and_tokens_of_no_scale_are_refused():
    net, (text, inputs) = small(), example()
    with pytest.raises(ValueError, match="text of 3 words; the transformer reads 4"):
        net(text[:, :3])
    with pytest.raises(ValueError, match="do not fill"):
        net(text, inputs[:, :6])


def test_a_condition_knows_its_own_hidden_state_and_the_codes_around():
    net = small()
    hidden, total = torch.randn(2, 16, net.dim), torch.randn(2, 5, 4, 4)
    every = net.condition(hidden, total)
    kept = torch.tensor([[0, 7, 9], [1, 2, 15]])
    some = torch.stack([row[at] for row, at in zip(hidden, kept, strict=True)])
    expected = torch.stack([row[at] for row, at in zip(every, kept, strict=True)])
    torch.testing.assert_close(net.condition(some, total, kept), expected)
    other = total.clone()
    other[:, :, 0, 0] += 1
    changed = (net.condition(hidden, other) - every).abs().amax(dim=(0, 2)) > 1e-6
    assert changed.view(4, 4).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_parameters_at_the_published_size():
    parts = parameter_count()
    assert parts["blocks"] == 679_625_280 and parts["diffusion"] == 36_585_536
    assert sum(parts.values()) == 732_399_744
    with torch.device("meta"):
        ours = Block(1536, 24, 4096)  # without biases for queries and values
        mlp = DenoisingMLP(16, 160, 128, 3, 16)
    count = sum(p.numel() for p in ours.parameters())
    assert count == block_parameters(1536, 24, 4096) - 2 * 1536
    count = sum(p.numel() for p in mlp.parameters())
    assert count == diffusion_parameters(16, 160, 128, 3, learned_variance=False)


def test_another_grid_takes_interpolated_positions_or_continues_them():
    net, (text, _) = small(), example()
    inputs = torch.randn(2, 9 + 36, 5)
    with torch.no_grad():
        within = net(text, inputs, scales=(1, 3, 6))
        beyond = net(text, inputs, scales=(1, 3, 6), interpolate=False)
    assert within.logits.shape == beyond.logits.shape == (2, 46, 7)
    assert not torch.allclose(within.logits, beyond.logits)
    assert torch.equal(net.positions(SCALES), net.positions(SCALES, interpolate=False))
