"""Images and captions in one space: what reads the quantized tokens, and SigLIP's loss.

VILA-U, section 3.1: a contrastive loss is added to reconstruction, on the *quantized* features, so
that codes mean something to a language model.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.layers import initialise_xavier
from labsupport.models.vilau.siglip import AttentionPool, SiglipBlock
from labsupport.models.vit import NORM_EPS

LOG_SCALE, BIAS = math.log(10), -10.0  # at the start (SigLIP, section 3.2): most pairs are wrong


class AlignmentHead(nn.Module):
    """Quantized tokens (batch, tokens, dim) to one vector an image (batch, embed_dim).

    What SigLIP's last block, norm and pooling are to the published tower, for one whose tokens have
    few numbers: a linear layer to `width` in front, and one to `embed_dim` behind.
    """

    def __init__(self, tokens: int, dim: int, width: int, heads: int, embed_dim: int):
        super().__init__()
        self.widen = nn.Linear(dim, width)
        self.positions = nn.Parameter(torch.empty(tokens, width))
        self.block = SiglipBlock(width, heads, 4 * width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pool = AttentionPool(width, heads, 2 * width)
        self.proj = nn.Linear(width, embed_dim, bias=False)
        initialise_xavier(self)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.widen(tokens) + self.positions
        return self.proj(self.pool(self.norm(self.block(x))))


class SigmoidScale(nn.Module):
    """The two numbers that SigLIP's loss learns: logits are exp(log_scale) · cosine + bias."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.bias = nn.Parameter(torch.tensor(BIAS))

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """Logits (images, texts) of vectors (n, dim) of any length."""
        cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
        return self.log_scale.exp() * cosines + self.bias


def sigmoid_loss(logits: Tensor, same: Tensor | None = None) -> Tensor:
    """SigLIP's loss, algorithm 1: a yes or no for every pair, summed, over the number of images.

    `same` (images, texts) is True where a caption is true of an image: by default on the diagonal
    alone. In a small world two images of a batch may have the same caption, and a no for the other
    one's would be wrong.
    """
    if same is None:
        same = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    signs = 2 * same.to(logits.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def same_captions(text: Tensor) -> Tensor:
    """(images, images): True where two captions (images, words) are equal."""
    return (text[:, None] == text[None]).all(dim=-1)
