"""SparseViT against lab 02's Swin, and against a slow one that computes all and copies back."""

import pytest
import torch

from labsupport.models.sparsevit import (
    SparseSegmenter,
    SparseSwin,
    centred,
    kept,
    magnitude,
    window_scores,
)
from labsupport.models.swin import Swin
from labsupport.models.windows import window_partition, window_reverse

SIZE = {"dim": 16, "depths": (4, 4), "heads": (2, 4), "window": 4}


def net_of(kind, *args):
    torch.manual_seed(0)
    net = kind(5, *args, **SIZE).double().eval()
    with torch.no_grad():  # weights as initialised are too small to tell windows apart
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net


def slow_maps(net, images, layout, importance):
    """Every block computed for every window; windows that are pruned are then copied back."""
    x, maps = net.patch_embed(images), []
    for stage, ratios in zip(net.layers, layout):
        x, scores = stage.downsample(x), None
        for i, block in enumerate(stage.blocks):
            if ratios[i // 2] == 0:
                x = block(x)
                continue
            scores = importance(x) if scores is None else scores
            size, window, shift = x.shape[1:3], block.window, block.shift
            before = window_partition(x.roll((-shift, -shift), (1, 2)), window)
            after = window_partition(block(x).roll((-shift, -shift), (1, 2)), window)
            norms = window_partition(scores.roll((-shift, -shift), (1, 2))[..., None], window)
            norms = norms.square().sum((1, 2)).sqrt().view(len(x), -1)
            keep = torch.zeros_like(norms, dtype=torch.bool)
            for row, flags in zip(norms, keep):
                flags[row.topk(kept(len(row), ratios[i // 2])).indices] = True
            out = torch.where(keep.flatten()[:, None, None], after, before)
            x = window_reverse(out, window, *size).roll((shift, shift), (1, 2))
        maps.append(x)
    return maps


@pytest.mark.parametrize("size", [64, 72])  # 72 px: windows do not fit and are padded
def test_without_pruning_it_is_lab_02_s_swin(size):
    sparse, dense = net_of(SparseSwin), net_of(Swin)
    dense.load_state_dict(sparse.state_dict())
    images = torch.randn(2, 3, size, size, dtype=torch.double)
    assert torch.equal(sparse(images), dense(images))


@pytest.mark.parametrize("importance", [magnitude, centred])
@pytest.mark.parametrize(
    "layout",
    [
        ((0.5, 0.5), (0.25, 0.75)),
        ((0.0, 0.6), (0.0, 0.0)),
        ((0.8, 0.8), (0.5, 0.5)),
        ((0.1, 0.9), (0.0, 1.0)),
    ],
)
def test_pruned_windows_are_copied(layout, importance):
    net = net_of(SparseSegmenter)
    net.layout, net.importance = layout, importance
    images = torch.randn(3, 3, 128, 128, dtype=torch.double)
    for ours, slow in zip(net.maps(images), slow_maps(net, images, layout, importance)):
        torch.testing.assert_close(ours, slow, rtol=1e-10, atol=1e-10)


def test_a_ratio_just_above_zero_gives_the_same_through_gather_and_scatter():
    net = net_of(SparseSwin)
    images = torch.randn(2, 3, 128, 128, dtype=torch.double)
    expected = net(images)
    net.layout = ((1e-12, 1e-12), (1e-12, 1e-12))  # the sparse way, with every window kept
    torch.testing.assert_close(net(images), expected, rtol=1e-10, atol=1e-10)


def test_scores_of_shifted_windows_are_those_of_the_rolled_map():
    x = torch.rand(2, 8, 8)
    rolled = torch.roll(x, (-2, -2), (1, 2))
    torch.testing.assert_close(window_scores(x, 4, 2), window_scores(rolled, 4, 0))
    assert window_scores(x, 4)[1, 1].item() == pytest.approx(x[1, :4, 4:].norm().item())
