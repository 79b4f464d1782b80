"""The language model: a decoder of Llama's blocks, over vectors whether of words or of images.

H. Touvron et al., "LLaMA" (2023), section 2.2; VILA-U, section 3.2, has Llama 2 with 7 billion
parameters, and words and images in one order, one behind the other.
"""

import torch
from torch import Tensor, nn

from labsupport.models.hart.attention import Cache
from labsupport.models.hart.blocks import SwiGLU, initialise
from labsupport.models.hart.positions import TEXT_BASE, frequencies
from labsupport.models.vilau.attention import CausalAttention
from labsupport.models.vilau.config import TrunkConfig


class TrunkBlock(nn.Module):
    """x + attention of normalised x, then + SwiGLU of normalised x; no biases."""

    def __init__(self, dim: int, heads: int, hidden: int, eps: float):
        super().__init__()
        self.norm1 = nn.RMSNorm(dim, eps=eps)
        self.attention = CausalAttention(dim, heads)
        self.norm2 = nn.RMSNorm(dim, eps=eps)
        self.mlp = SwiGLU(dim, hidden)

    def forward(
        self, x: Tensor, angles: Tensor, mask: Tensor | None, cache: Cache | None
    ) -> Tensor:
        x = x + self.attention(self.norm1(x), angles, mask, cache)
        return x + self.mlp(self.norm2(x))


class Trunk(nn.Module):
    """Vectors (batch, tokens, dim) to hidden states of the same shape, normalised; of these `head`
    makes logits over the words. `words` are the vectors of words."""

    def __init__(self, config: TrunkConfig):
        super().__init__()
        dim, self.head_dim = config.dim, config.dim // config.heads
        self.words = nn.Embedding(config.vocabulary, dim)
        self.blocks = nn.ModuleList(
            TrunkBlock(dim, config.heads, config.hidden, config.eps) for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(dim, eps=config.eps)
        self.head = nn.Linear(dim, config.vocabulary, bias=False)
        initialise(self, dim, config.depth)

    def new_cache(self) -> list[Cache]:
        """An empty cache for every block."""
        return [Cache() for _ in self.blocks]

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: list[Cache] | None = None
    ) -> Tensor:
        """x are the tokens not in `cache`, which they stand behind; `mask` as `CausalAttention`
        takes it."""
        held = cache[0].length if cache else 0
        positions = torch.arange(held, held + x.shape[1], device=x.device)
        rates = frequencies(self.head_dim // 2, TEXT_BASE).to(x.device)
        angles = (positions[:, None] * rates).to(x.dtype)  # (tokens, head_dim / 2)
        for i, block in enumerate(self.blocks):
            x = block(x, angles, mask, cache[i] if cache else None)
        return self.norm(x)
