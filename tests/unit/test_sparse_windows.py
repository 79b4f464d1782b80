"""SparseViT's parts: what is kept, what it costs, what it refuses."""

import pytest
import torch

from labsupport.models.sparsevit import (
    SparseSegmenter,
    SparseSwin,
    gather_windows,
    kept,
    scatter_windows,
    sparse_block,
    sparse_stage,
)
from labsupport.profiling.counts import count_macs


def small(kind=SparseSwin):
    torch.manual_seed(0)
    return kind(3, dim=8, depths=(4, 4), heads=(2, 2), window=4).eval()


def test_kept_is_the_floor_and_never_nothing():
    assert [kept(64, r) for r in (0, 0.1, 0.5, 0.8, 1)] == [64, 57, 32, 12, 1]
    assert kept(10, 0.8) == 2  # 10 · (1 - 0.8) in floats is less than 2
    with pytest.raises(ValueError, match="ratio=1.5"):
        kept(4, 1.5)


def test_scatter_is_a_copy_and_undoes_gather():
    x, index = torch.rand(2, 5, 3, 2), torch.tensor([[4, 0], [1, 2]])
    before = x.clone()
    some = gather_windows(x, index)
    assert torch.equal(some[1, 0], x[1, 1])
    out = scatter_windows(x, index, some + 1)
    assert torch.equal(x, before) and torch.equal(gather_windows(out, index), some + 1)
    assert torch.equal(out[0, 1:4], x[0, 1:4])


def test_a_block_costs_what_it_keeps():
    block, x = small().layers[0].blocks[1], torch.rand(2, 16, 16, 8)
    everything = count_macs(block, x)
    index = torch.tensor([[0, 5, 9, 15]] * 2)
    assert count_macs(lambda: sparse_block(block, x, index)) == everything // 4


def test_gradients_reach_kept_and_copied_windows():
    net = small(SparseSegmenter)
    net.layout = ((0.5, 0.5), (0.5, 0.5))
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    net(images).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    assert (images.grad.abs().amax(1) > 0).all()


def test_it_refuses_layouts_that_do_not_fit():
    net, x = small(), torch.rand(1, 16, 16, 8)
    with pytest.raises(ValueError, match="must not fall"):
        sparse_stage(net.layers[0], x, (0.5, 0.2))
    with pytest.raises(ValueError, match="one number for each of 2 pairs"):
        sparse_stage(net.layers[0], x, (0.5,))
    net.layout = ((0.5, 0.5),)
    with pytest.raises(ValueError, match="layout has 1 stages"):
        net(torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match="must divide the map"):
        sparse_block(net.layers[0].blocks[0], torch.rand(1, 10, 10, 8), torch.zeros(1, 1).long())
