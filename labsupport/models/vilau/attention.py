"""Attention as Llama has it, with a cache: rotary positions, products over √head_dim.

H. Touvron et al., "LLaMA" (2023), section 2.2. HART's own (`labsupport.models.hart.attention`)
differs: it sets the length of queries and keys; and there all sequences of a batch are equally
long. Here one may be padded, so that a mask can be a sequence's own. Positions need not be: turned
queries and keys only know how far they stand apart, so padding in front moves nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.attention import Cache
from labsupport.models.hart.positions import rotate
from labsupport.models.layers import check_heads, split_heads


class CausalAttention(nn.Module):
    """Attention of (batch, tokens, dim), every token to itself and what stands before it."""

    def __init__(self, dim: int, heads: int, bias: bool = False):
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.proj = nn.Linear(dim, dim, bias=bias)

    def forward(
        self,
        x: Tensor,
        angles: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """x are the tokens that are not in `cache`, which they are put into. `angles` are theirs,
        (tokens, head_dim / 2); None for no positions. `mask`, (batch, tokens, all tokens), is True
        where one may look; None for the plain causal one."""
        q, k, v = split_heads(self.qkv(x), self.heads)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if cache is not None:
            if cache.length:
                k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
            cache["keys"], cache["values"] = k, v
        if mask is None and q.shape[2] not in (1, k.shape[2]):
            mask = causal_mask(k.shape[2], q.device)[None, -q.shape[2] :]
        out = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if mask is None else mask[:, None],
            is_causal=mask is None and q.shape[2] > 1,
        )
        return self.proj(out.transpose(1, 2).flatten(2))


def causal_mask(tokens: int, device: torch.device | str = "cpu") -> Tensor:
    """(tokens, tokens), True where the token of the row may look at that of the column."""
    return torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()


def padded_mask(real: Tensor) -> Tensor:
    """(batch, tokens, tokens) for sequences of which only the tokens `real` (batch, tokens) are
    any: causal, and padding is seen by nobody but itself, which has to see something."""
    causal = causal_mask(real.shape[1], real.device)
    alone = torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
    return causal & real[:, None, :] | alone
