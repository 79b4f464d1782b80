"""Transformer blocks as in Llama: RMSNorm, rotary positions, SwiGLU.

H. Touvron et al., "LLaMA" (2023), section 2.2.
"""

import math
from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.attention import Attend, Attention, Cache, attend


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


class Block(nn.Module):
    """x + attention of normalised x, then + SwiGLU of normalised x."""

    def __init__(self, dim: int, heads: int, width: int, attend: Attend = attend):
        super().__init__()
        self.norm1 = nn.RMSNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads, attend)
        self.norm2 = nn.RMSNorm(dim, eps=1e-6)
        self.mlp = SwiGLU(dim, width)

    def forward(
        self,
        x: Tensor,
        angles: Tensor | None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        x = x + self.attention(self.norm1(x), angles, mask, cache)
        return x + self.mlp(self.norm2(x))


def through(
    blocks: Iterable[nn.Module],
    x: Tensor,
    angles: Tensor | None,
    mask: Tensor | None = None,
    cache: list[Cache] | None = None,
) -> Tensor:
    """x (batch, tokens, dim) after all `blocks`, each with its own cache where there is one."""
    for i, block in enumerate(blocks):
        x = block(x, angles, mask, None if cache is None else cache[i])
    return x


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
