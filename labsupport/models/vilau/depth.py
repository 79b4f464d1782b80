"""The depth transformer: the D codes of one place, one after another, within one step of the trunk.

D. Lee et al. (RQ-VAE, CVPR 2022), section 3.2, and VILA-U, section 3.2. The trunk passes every
place once; what D codes cost more is D steps of this smaller one over at most D tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.attention import Cache
from labsupport.models.hart.heads import HEADS, CodebookHead, Prediction
from labsupport.models.layers import MLP, check_heads
from labsupport.models.vilau.attention import CausalAttention
from labsupport.models.vilau.config import DepthConfig

POSITION_STD = 0.02


class DepthBlock(nn.Module):
    """A pre-norm causal block with biases and the exact GELU, (batch, steps, dim) to the same."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, heads, bias=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, 4 * dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), cache=cache))
        return x + self.dropout(self.mlp(self.norm2(x)))


class DepthTransformer(nn.Module):
    """From the trunk's hidden state at a place to logits for each of its D codes.

    The first token is the hidden state through a linear layer; token d is the *sum* of the vectors
    of the d codes before it through another, so that what is known of the place so far is told,
    not only the last correction. Each has a learned position. `codebook` (codes, code dim) is what
    a codebook head copies; a linear one needs none.
    """

    def __init__(self, config: DepthConfig, codebook: Tensor | None = None):
        super().__init__()
        dim, self.steps = config.dim, config.steps
        check_heads(dim, config.heads)
        if codebook is None:
            codebook = torch.zeros(config.codes, config.code_dim)
        self.from_hidden = nn.Linear(config.hidden, dim)
        self.from_codes = nn.Linear(config.code_dim, dim)
        self.positions = nn.Parameter(torch.empty(config.steps, dim))
        self.blocks = nn.ModuleList(
            DepthBlock(dim, config.heads, config.dropout) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = HEADS[config.head](dim, codebook, config.steps)
        nn.init.normal_(self.positions, std=POSITION_STD)
        if isinstance(self.head, CodebookHead):
            nn.init.zeros_(self.head.free.weight)

    def new_cache(self) -> list[Cache]:
        """An empty cache for every block."""
        return [Cache() for _ in self.blocks]

    def inputs(self, hidden: Tensor, sums: Tensor) -> Tensor:
        """hidden (places, dim of the trunk) and sums of codes (places, d, code dim), of the first
        1 to d: (places, d + 1, dim)."""
        first = self.from_hidden(hidden)[:, None]
        x = torch.cat([first, self.from_codes(sums)], dim=1)
        return x + self.positions[: x.shape[1]]

    def forward(self, hidden: Tensor, sums: Tensor, cache: list[Cache] | None = None) -> Prediction:
        """Logits (places, d + 1, codes) of the codes 1 to d + 1, from hidden states (places, dim of
        the trunk) and the sums (places, d, code dim) of the codes 1 to d. For training d is D − 1.
        With a cache, of the steps alone that are not held there."""
        if sums.shape[1] >= self.steps:
            raise ValueError(f"sums of {sums.shape[1]} codes; of the last of {self.steps} none")
        held = cache[0].length if cache else 0
        x = self.inputs(hidden, sums)
        number = torch.arange(x.shape[1], device=x.device)[held:]
        x = x[:, held:]
        for i, block in enumerate(self.blocks):
            x = block(x, cache[i] if cache else None)
        shown = F.pad(sums, (0, 0, 1, 0))[:, held:]  # nothing is known before the first code
        return self.head(self.norm(x), shown, number, x.new_ones(()))
