"""Attention at its different prices: softmax, sparse windows, and linear in two orders.

All take queries, keys and values (batch, heads, tokens, head_dim) and no parameters. Attention in
(shifted) windows is in `labsupport.models.windows`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-6  # of linear attention: a query without any positive entry gets zeros, not 0 / 0


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention, written out: the table of N² shares is in memory.

    A. Vaswani et al., "Attention Is All You Need" (NeurIPS 2017), equation 1.
    """
    return (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v


def relu_linear(q: Tensor, k: Tensor, v: Tensor, eps: float = EPS) -> Tensor:
    """ReLU linear attention in the order Q (Kᵀ V): N · d² multiplications, twice.

    A. Katharopoulos et al., "Transformers are RNNs" (ICML 2020), equation 6, with the ReLU of
    H. Cai et al., "EfficientViT" (ICCV 2023), equations 2 and 3. Written as lab 02 counts it,
    N · d · (2 d + 1) multiplications a head; `labsupport.models.efficientvit.attention` has the
    published code's form, which pads the values, may take the other order, and counts otherwise.
    """
    q, k = F.relu(q), F.relu(k)
    summary = k.transpose(-2, -1) @ v  # (batch, heads, head_dim, head_dim)
    total = q @ k.sum(dim=-2).unsqueeze(-1)  # (batch, heads, queries, 1)
    return q @ summary / (total + eps)


def sparse_groups(coords: Tensor, window: int, size: int) -> Tensor:
    """Non-empty tokens, sorted by window and cut into groups of equal size.

    `coords` (tokens, 2) are row and column of each, integers. Returns indices (groups, size):
    windows and the tokens in them in reading order. The last group takes the last `size` tokens,
    so where sizes do not divide it repeats some of the group before; fewer than `size` tokens
    are one smaller group. After Z. Liu et al., "FlatFormer" (CVPR 2023), whose code runs through
    the windows in serpentines and alternates rows and columns.
    """
    row, column = coords.unbind(dim=1)
    order = torch.arange(len(coords))
    for key in (column, row, column // window, row // window):  # least significant first
        order = order[torch.argsort(key[order], stable=True)]
    return cut_groups(order, size)


def cut_groups(order: Tensor, size: int) -> Tensor:
    """`order` (tokens,) cut into (groups, size); the last group ends with the last token."""
    tokens = len(order)
    size = min(size, tokens)
    groups = -(-tokens // size)
    starts = torch.clamp(torch.arange(groups) * size, max=tokens - size)
    return order[starts[:, None] + torch.arange(size)]


def sparse_window_attention(x: Tensor, groups: Tensor, attention: Callable) -> Tensor:
    """Attention within each of `groups` (groups, size): (tokens, channels) to the same shape.

    `attention` maps (groups, size, channels) to the same shape. A token that the last group
    repeats keeps what the group before gave it.
    """
    size = groups.shape[1]
    fresh = len(x) - (len(groups) - 1) * size  # tokens that only the last group holds
    out = attention(x[groups])  # (groups, size, channels)
    parts = torch.cat([out[:-1].flatten(0, 1), out[-1, size - fresh :]])
    order = torch.cat([groups[:-1].flatten(), groups[-1, size - fresh :]])
    return torch.empty_like(parts).index_copy(0, order, parts)
