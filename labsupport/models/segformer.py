"""A SegFormer-like network: softmax attention with reduced keys and values, and an MLP head.

After E. Xie et al., "SegFormer" (NeurIPS 2021): overlapping patch embeddings instead of positions,
attention in every stage whose keys and values come from a map made smaller by a strided
convolution, a feed-forward layer with a depthwise convolution, and a head of linear layers. Small
and untrained; `reduction` 1 everywhere leaves the attention as it is in a ViT. Public SegFormer
weights do not fit: stages, widths and strides are those of lab 03's comparison.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.layers import check_heads, initialise_xavier


class ReducedAttention(nn.Module):
    """Softmax attention, (batch, dim, height, width) to the same shape.

    Queries come from every pixel, keys and values from a map `reduction` times smaller each way.
    """

    def __init__(self, dim: int, heads: int, reduction: int = 1):
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.q = nn.Conv2d(dim, dim, 1)
        self.kv = nn.Conv2d(dim, 2 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)
        self.reduce: nn.Module = nn.Identity()
        if reduction > 1:
            self.reduce = nn.Sequential(
                nn.Conv2d(dim, dim, reduction, reduction), nn.GroupNorm(1, dim)
            )

    def split(self, x: Tensor) -> Tensor:
        """(batch, dim, height, width) to (batch, heads, tokens, head_dim)."""
        return x.flatten(2).unflatten(1, (self.heads, -1)).transpose(-2, -1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        k, v = self.kv(self.reduce(x)).chunk(2, dim=1)
        # contiguous: on a CPU the fused attention is several times slower without
        q, k, v = (self.split(t).contiguous() for t in (self.q(x), k, v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(-2, -1).flatten(1, 2).unflatten(2, (height, width)))


class MixFFN(nn.Module):
    """1x1 to `expand` times the channels, depthwise 3x3, GELU, 1x1 back."""

    def __init__(self, dim: int, expand: int = 4):
        super().__init__()
        hidden = dim * expand
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.depth = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.depth(self.fc1(x))))


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (batch, channels, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MixBlock(nn.Module):
    """Pre-norm block of attention and MixFFN."""

    def __init__(self, dim: int, heads: int, reduction: int):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm2d(dim, eps=1e-6), LayerNorm2d(dim, eps=1e-6)
        self.attn, self.ffn = ReducedAttention(dim, heads, reduction), MixFFN(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class SegFormerLike(nn.Module):
    """Images (batch, 3, height, width) to logits (batch, num_classes, height, width).

    Stages at 1/4, 1/8, 1/16 of the image, with `dims`, `depths`, heads of `head_dim` channels and
    key-value `reductions` each. The logits are made at 1/4 and enlarged bilinearly.
    """

    def __init__(
        self,
        num_classes: int,
        dims: Sequence[int] = (32, 48, 64),
        depths: Sequence[int] = (1, 1, 1),
        head_dim: int = 16,
        reductions: Sequence[int] = (4, 2, 1),
        width: int = 32,
    ):
        super().__init__()
        self.stages = nn.ModuleList()
        before = 3
        for i, (dim, depth, reduction) in enumerate(zip(dims, depths, reductions, strict=True)):
            embed = nn.Conv2d(before, dim, 7, 4, 3) if i == 0 else nn.Conv2d(before, dim, 3, 2, 1)
            blocks = (MixBlock(dim, dim // head_dim, reduction) for _ in range(depth))
            self.stages.append(nn.Sequential(embed, LayerNorm2d(dim), *blocks, LayerNorm2d(dim)))
            before = dim
        self.linears = nn.ModuleList(nn.Conv2d(dim, width, 1) for dim in dims)
        self.fuse = nn.Sequential(
            nn.Conv2d(len(dims) * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.output = nn.Conv2d(width, num_classes, 1)
        initialise_xavier(self)  # with PyTorch's smaller weights attention stays uniform for long

    def forward(self, images: Tensor) -> Tensor:
        x = images
        parts: list[Tensor] = []
        for stage, linear in zip(self.stages, self.linears):
            x = stage(x)
            y = linear(x)
            parts.append(
                y
                if not parts
                else F.interpolate(
                    y, size=parts[0].shape[-2:], mode="bilinear", align_corners=False
                )
            )
        logits = self.output(self.fuse(torch.cat(parts, dim=1)))
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
