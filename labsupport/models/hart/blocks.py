"""The transformer's blocks, as in Llama: RMSNorm, rotary positions, SwiGLU; and their cache.

H. Touvron et al., "LLaMA" (2023), section 2.2. HART's queries and keys have length 1, with a
learned factor for every head (HART's code, `attn_l2_norm`).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.positions import rotate

MAX_SCALE = math.log(100)


def swiglu_width(dim: int, multiple: int) -> int:
    """8/3 dim, rounded up to a multiple: three matrices then cost what an MLP of 4 dim costs."""
    return multiple * math.ceil(8 * dim / 3 / multiple)


class SwiGLU(nn.Module):
    """down(silu(gate x) * up x), without biases: (..., dim) to the same shape."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.gate_up = nn.Linear(dim, 2 * width, bias=False)
        self.down = nn.Linear(width, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Cache:
    """Keys and values that a block has computed, each (batch, heads, tokens, head_dim)."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put new tokens behind those held; all of them."""
        if self.keys is not None:
            keys = torch.cat([self.keys, keys], dim=2)
            values = torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

    @property
    def length(self) -> int:
        """Tokens held."""
        return 0 if self.keys is None else self.keys.shape[2]


class Attention(nn.Module):
    """Attention of (batch, tokens, dim) over what `mask` allows; with a cache, also over the
    tokens held there. `angles` are the tokens' rotary positions, None for none."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
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
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = F.normalize(q, dim=-1) * self.log_scale.clamp(max=MAX_SCALE).exp()
        k = F.normalize(k, dim=-1)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if cache is not None:
            k, v = cache.extend(k, v)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
        return self.proj(out.transpose(1, 2).flatten(2))  # (batch, tokens, dim)


class Block(nn.Module):
    """x + attention of normalised x, then + SwiGLU of normalised x."""

    def __init__(self, dim: int, heads: int, width: int):
        super().__init__()
        self.norm1 = nn.RMSNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.RMSNorm(dim, eps=1e-6)
        self.mlp = SwiGLU(dim, width)

    def forward(
        self, x: Tensor, angles: Tensor, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        x = x + self.attention(self.norm1(x), angles, mask, cache)
        return x + self.mlp(self.norm2(x))


def initialise(module: nn.Module, dim: int, depth: int) -> None:
    """VAR's start: deviation sqrt(1 / 3 dim), and what is added to the stream divided by
    sqrt(2 depth), so that its variance does not grow with the blocks. What is frozen, a tokenizer
    inside, stays as it is."""
    std = math.sqrt(1 / dim / 3)
    for name, layer in module.named_modules():
        if isinstance(layer, (nn.Linear, nn.Embedding)) and layer.weight.requires_grad:
            end = name.endswith(("proj", "down"))
            nn.init.trunc_normal_(layer.weight, std=std / math.sqrt(2 * depth) if end else std)
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
