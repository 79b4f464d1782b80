"""Scores of dense prediction, against values known otherwise; nets of the comparison."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labsupport.labs.lab03.dense_prediction import downscale, luma, psnr, ssim
from labsupport.metrics.segmentation import class_iou, mean_iou, predict
from labsupport.models.segformer import ReducedAttention, SegFormerLike
from labsupport.models.swinir import SwinIRLike
from labsupport.profiling.clock import measure_in_turns
from labsupport.profiling.counts import count_macs


def test_class_iou_by_hand():
    targets = torch.tensor([[0, 0, 1], [1, 1, 2]])
    predicted = torch.tensor([[0, 1, 1], [1, 0, 2]])
    assert class_iou(predicted, targets, 4)[:3].tolist() == pytest.approx([1 / 3, 2 / 4, 1])
    assert class_iou(predicted, targets, 4)[3].isnan()
    with pytest.raises(ValueError, match=r"predicted has shape \(2, 3\) and targets \(3,\)"):
        class_iou(predicted, targets[0], 4)


def test_mean_iou_counts_over_all_images_together_and_keeps_the_mode():
    class Say(nn.Module):  # logits that name the class given by the image
        def forward(self, images):
            return F.one_hot(images[:, 0].long(), 3).permute(0, 3, 1, 2).float()

    images = torch.tensor([[[[0.0, 1]]], [[[1.0, 2]]]])
    targets = torch.tensor([[[0, 1]], [[0, 2]]])
    model = Say().train()
    assert mean_iou(model, images, targets, 3, batch_size=1) == pytest.approx(2 / 3)
    assert model.training
    assert predict(model, images, 1).shape == (2, 3, 1, 2)


def test_luma_of_black_and_white():
    assert luma(torch.zeros(1, 3, 1, 1)).item() == pytest.approx(16 / 255)
    assert luma(torch.ones(1, 3, 1, 1)).item() == pytest.approx(235 / 255, abs=1e-6)


def test_psnr_of_a_known_error_and_border():
    images = torch.full((2, 3, 8, 8), 0.5)
    worse = images + 0.1
    step = 0.1 * (65.481 + 128.553 + 24.966) / 255
    assert psnr(worse, images) == pytest.approx(-20 * math.log10(step), abs=1e-3)
    framed = images.clone()
    framed[..., 0] = 0
    assert psnr(framed, images, border=1) > 100 > psnr(framed, images, border=0)


def test_ssim_is_one_for_equal_images_only():
    images = torch.rand(2, 3, 24, 24)
    assert ssim(images, images) == pytest.approx(1)
    assert ssim(images.flip(3), images) < 0.5


def test_downscale_averages():
    images = torch.rand(1, 3, 16, 16)
    small = downscale(images)
    assert small.shape == (1, 3, 8, 8)
    assert small.mean().item() == pytest.approx(images.mean().item(), abs=0.02)
    assert downscale(torch.full((1, 3, 8, 8), 0.3), 4).allclose(torch.tensor(0.3), atol=1e-5)


def test_reduced_attention_has_fewer_keys():
    plain, reduced = (ReducedAttention(16, 2, r).eval() for r in (1, 4))
    x = torch.randn(1, 16, 8, 8)
    pairs = 2 * 64 * 16
    projections = 64 * 4 * 16 * 16
    assert count_macs(plain, x) == projections + pairs * 64
    assert count_macs(reduced, x) == 64 * 2 * 256 + 4 * 2 * 256 + 4 * 256 * 16 + pairs * 4
    assert reduced(x).shape == x.shape
    with pytest.raises(ValueError, match="heads=3 must divide dim=16"):
        ReducedAttention(16, 3)


@torch.no_grad()
def test_plain_attention_is_pytorch_s():
    ours = ReducedAttention(8, 2).eval()
    theirs = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    kv = ours.kv
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([ours.q.weight, kv.weight]).flatten(1),
            "in_proj_bias": torch.cat([ours.q.bias, kv.bias]),
            "out_proj.weight": ours.proj.weight.flatten(1),
            "out_proj.bias": ours.proj.bias,
        }
    )
    x = torch.randn(2, 8, 3, 5)
    tokens = x.flatten(2).transpose(1, 2)
    expected = theirs(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(ours(x), expected)


@torch.no_grad()
def test_nets_of_the_comparison_keep_their_promises():
    net = SegFormerLike(4, (8, 8, 16), head_dim=8, reductions=(4, 2, 1), width=8).eval()
    assert net(torch.rand(2, 3, 32, 64)).shape == (2, 4, 32, 64)
    images = torch.rand(1, 3, 16, 24)
    base = F.interpolate(images, scale_factor=2, mode="bicubic")
    torch.testing.assert_close(SwinIRLike(8, 1, 2).eval()(images), base)


def test_turns_are_fair_and_threads_are_given_back():
    calls = []
    before = torch.get_num_threads()
    times = measure_in_turns(
        {"a": lambda x: calls.append("a"), "b": lambda x: calls.append("b")},
        0,
        seconds=0.01,
        rounds=(4, 4),
    )
    assert calls == list("ab" + "ba" + "ab" + "ba" + "ab")
    assert set(times) == {"a", "b"} and min(times.values()) >= 0
    assert torch.get_num_threads() == before
