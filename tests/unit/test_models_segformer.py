"""SegFormer's likeness: reduced attention, and a class for every pixel."""

import pytest
import torch
from torch import nn

from labsupport.models.segformer import ReducedAttention, SegFormerLike
from labsupport.profiling.counts import count_macs


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
def test_the_net_names_every_pixel():
    net = SegFormerLike(4, (8, 8, 16), head_dim=8, reductions=(4, 2, 1), width=8).eval()
    assert net(torch.rand(2, 3, 32, 64)).shape == (2, 4, 32, 64)
