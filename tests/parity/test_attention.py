"""Attention at its different prices: equal where the papers say so, at the cost they say."""

import pytest
import torch
import torch.nn.functional as F

from labsupport.models.attention import (
    EPS,
    relu_linear,
    softmax_attention,
    sparse_groups,
    sparse_window_attention,
)
from labsupport.models.efficientvit.attention import relu_linear_attention
from labsupport.profiling.counts import count_macs

BATCH, HEADS, TOKENS, DIM = 2, 3, 11, 4


def qkv(tokens=TOKENS, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(BATCH, HEADS, tokens, DIM, generator=generator, dtype=dtype) for _ in range(3)
    ]


def relu_quadratic(q, k, v, eps=EPS):
    """In the order (Q Kᵀ) V, with the table of shares in memory: what the linear order equals."""
    shares = F.relu(q) @ F.relu(k).transpose(-2, -1)  # (batch, heads, queries, keys)
    return (shares / (shares.sum(dim=-1, keepdim=True) + eps)) @ v


def test_softmax_attention_equals_torch():
    q, k, v = qkv()
    torch.testing.assert_close(softmax_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))


def test_both_orders_of_linear_attention_agree_and_cost_what_they_should():
    q, k, v = qkv()
    torch.testing.assert_close(relu_linear(q, k, v), relu_quadratic(q, k, v))
    all_heads = BATCH * HEADS
    assert count_macs(relu_quadratic, q, k, v) == all_heads * 2 * TOKENS**2 * DIM
    assert count_macs(relu_linear, q, k, v) == all_heads * TOKENS * (2 * DIM**2 + DIM)


@pytest.mark.parametrize("tokens", [DIM, TOKENS])  # either order of the published code
def test_the_formula_equals_the_form_of_efficientvit_s_code(tokens):
    q, k, v = qkv(tokens)
    padded = relu_linear_attention(q, k, v, eps=EPS)
    torch.testing.assert_close(relu_linear(q, k, v), padded)


@pytest.mark.parametrize("attention", [relu_linear, relu_quadratic])
def test_a_query_that_fits_nothing_gets_zeros(attention):
    q, k, v = qkv()
    q[:, :, 0] = -1
    out = attention(q, k, v)
    assert not out[:, :, 0].any() and out.isfinite().all()


def test_sparse_groups_are_sorted_by_window_and_of_equal_size():
    coords = torch.tensor([[5, 5], [0, 0], [0, 3], [4, 0], [1, 1], [3, 3], [0, 2]])
    groups = sparse_groups(coords, window=2, size=3)
    assert groups.tolist() == [[1, 4, 6], [2, 5, 3], [5, 3, 0]]
    assert sparse_groups(coords, window=2, size=9).shape == (1, 7)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8])
def test_sparse_window_attention_gives_every_token_its_own_groups_answer(size):
    coords = torch.tensor([[5, 5], [0, 0], [0, 3], [4, 0], [1, 1], [3, 3], [0, 2]])
    groups = sparse_groups(coords, window=2, size=size)
    x = torch.arange(7.0)[:, None].requires_grad_()
    out = sparse_window_attention(x, groups, lambda g: g + 10 * g.sum(1, keepdim=True))
    for group in reversed(groups.tolist()):
        for token in group:
            first = next(g for g in groups.tolist() if token in g)
            assert out[token].item() == token + 10 * sum(first)
    assert torch.autograd.grad(out.sum(), x)[0].shape == (7, 1)
