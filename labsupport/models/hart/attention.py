"""Attention with rotary positions and a cache.

J. Su et al., "RoFormer" (2021), for the positions; HART's queries and keys have length 1, with a
learned factor for every head (HART's code, `attn_l2_norm`).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.positions import rotate

MAX_SCALE = math.log(100)


class Cache(dict[str, Tensor]):
    """The "keys" and "values" of the tokens that a block has seen, each (batch, heads, tokens,
    head_dim), keys already turned; empty at first."""

    @property
    def length(self) -> int:
        """Tokens held."""
        return self["keys"].shape[2] if self else 0


# What `attend` below and a student's own are: attend(q, k, v, angles, mask, cache)
Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Cache], Tensor]


def attend(
    q: Tensor, k: Tensor, v: Tensor, angles: Tensor | None, mask: Tensor | None, cache: Cache
) -> Tensor:
    """Attention of new tokens to those that `cache` holds and to each other; puts them into it.

    q, k, v (batch, heads, new, head_dim), not turned yet. `angles` (tokens, head_dim / 2), or
    (batch, tokens, head_dim / 2), and `mask` (tokens, tokens), True = may look, are the whole
    sequence's; None for no positions, and for tokens that all see each other. Products are not
    divided: queries come with their length set. Returns (batch, heads, new, head_dim).
    """
    held, end = cache.length, cache.length + q.shape[2]
    if angles is not None:
        own = angles[..., held:end, :]
        q, k = rotate(q, own), rotate(k, own)
    if held:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    if mask is not None:
        mask = mask[held:end, :end]
        if mask.all():
            mask = None  # a single block, behind all others
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)


class Attention(nn.Module):
    """Attention of (batch, tokens, dim), with the function `attend` between its projections."""

    def __init__(self, dim: int, heads: int, attend: Attend = attend):
        super().__init__()
        self.heads, self.attend = heads, attend
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(4.0)))
        self.proj = nn.Linear(dim, dim, bias=False)

    def forward(
        self,
        x: Tensor,
        angles: Tensor | None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """x are the tokens that are not in `cache`; `angles` and `mask` are the whole sequence's,
        as `attend` takes them."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = F.normalize(q, dim=-1) * self.log_scale.clamp(max=MAX_SCALE).exp()
        k = F.normalize(k, dim=-1)
        out = self.attend(q, k, v, angles, mask, Cache() if cache is None else cache)
        return self.proj(out.transpose(1, 2).flatten(2))  # (batch, tokens, dim)
