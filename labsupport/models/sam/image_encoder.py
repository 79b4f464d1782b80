"""The image encoder of SAM: a plain ViT, mostly in windows, with relative positions.

A. Kirillov et al., "Segment Anything" (2023), appendix A; the windows and the relative positions
are those of Y. Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection"
(ECCV 2022), after Y. Li et al., "MViTv2" (CVPR 2022), equation 4.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.layers import (
    MLP,
    check_heads,
    initialise_xavier,
    patches_a_side,
    split_heads,
)
from labsupport.models.sam.config import ViTConfig
from labsupport.models.segformer import LayerNorm2d
from labsupport.models.windows import pad_to_windows, window_partition, window_reverse

NORM_EPS = 1e-6  # of the encoder and of every LayerNorm2d in SAM


class RelativeAttention(nn.Module):
    """Self-attention over a square of tokens, (batch, size², dim) to the same shape.

    A score has two more terms: the query times a learned vector for the difference in rows, and
    times one for the difference in columns.
    """

    def __init__(self, dim: int, heads: int, size: int):
        super().__init__()
        check_heads(dim, heads)
        self.heads, self.size = heads, size
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, dim // heads))

    def bias(self, q: Tensor) -> Tensor:
        """What relative position adds to the scores, (batch, heads, size², size²).

        `q` (batch, heads, size², head_dim) is as projected: it is not divided by √head_dim here,
        though it is where it meets the keys.
        """
        place = torch.arange(self.size, device=q.device)
        gap = place[:, None] - place + self.size - 1  # (query, key), 0 to 2 size - 2
        q = q.unflatten(2, (self.size, self.size))  # (batch, heads, rows, columns, head_dim)
        down = torch.einsum("bnrcd,rkd->bnrck", q, self.rel_pos_h[gap])
        right = torch.einsum("bnrcd,ckd->bnrck", q, self.rel_pos_w[gap])
        both = down[..., :, None] + right[..., None, :]  # (…, key's row, key's column)
        return both.flatten(4).flatten(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = split_heads(self.qkv(x), self.heads)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias(q))
        return self.proj(out.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """Pre-norm block on a map of tokens, (batch, rows, columns, dim) to the same shape.

    With a `window` the map is cut after the norm: zeros below and to the right fill the last
    windows, take part in the attention like any token, and are cut off again. Without one, every
    token sees every other.
    """

    def __init__(self, dim: int, heads: int, size: int, window: int = 0):
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = RelativeAttention(dim, heads, window or size)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = MLP(dim, 4 * dim)

    def attend(self, x: Tensor) -> Tensor:
        """Attention within windows, or over all of the map."""
        rows, columns = x.shape[1:3]
        if not self.window:
            return self.attn(x.flatten(1, 2)).unflatten(1, (rows, columns))
        padded = pad_to_windows(x, self.window)
        out = self.attn(window_partition(padded, self.window))
        return window_reverse(out, self.window, *padded.shape[1:3])[:, :rows, :columns]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ImageEncoder(nn.Module):
    """Images (batch, 3, image_size, image_size) to embeddings (batch, dim, side, side).

    `dim` is the decoder's, side = image_size / patch_size. There is no class token. The published
    encoders begin with the weights of a masked autoencoder; this one begins as a ViT does, with
    relative positions at zero. Raises ValueError where sizes do not fit.
    """

    def __init__(self, config: ViTConfig, dim: int = 256):
        super().__init__()
        side = patches_a_side(config.image_size, config.patch_size)
        self.image_size = config.image_size
        self.patch_embed = nn.Conv2d(3, config.dim, config.patch_size, config.patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, config.dim))
        self.blocks = nn.Sequential(
            *(
                EncoderBlock(
                    config.dim,
                    config.heads,
                    side,
                    0 if i in config.global_blocks else config.window,
                )
                for i in range(config.depth)
            )
        )
        self.neck = nn.Sequential(
            nn.Conv2d(config.dim, dim, 1, bias=False),
            LayerNorm2d(dim, eps=NORM_EPS),
            nn.Conv2d(dim, dim, 3, padding=1, bias=False),
            LayerNorm2d(dim, eps=NORM_EPS),
        )
        initialise_xavier(self)
        nn.init.normal_(self.pos_embed, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"images are {tuple(images.shape[-2:])} pixels; the encoder takes "
                f"{self.image_size} x {self.image_size}"
            )
        x = self.patch_embed(images).permute(0, 2, 3, 1) + self.pos_embed
        return self.neck(self.blocks(x).permute(0, 3, 1, 2))
