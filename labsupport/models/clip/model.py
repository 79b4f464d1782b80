"""CLIP: both towers, the learned temperature, and the similarity of images and captions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.clip.losses import clip_logits
from labsupport.models.clip.towers import ImageEncoder, TextEncoder
from labsupport.models.clip.words import CONTEXT, VOCABULARY

LOG_SCALE = math.log(1 / 0.07)  # logit_scale at the start
SMALL = {  # of labs 06 and 09
    "width": 64,
    "depth": 3,
    "heads": 4,
    "text_width": 64,
    "text_depth": 2,
    "text_heads": 4,
    "embed_dim": 64,
}


class CLIP(nn.Module):
    """Two towers and `logit_scale`, the logarithm of 1 / temperature.

    Images are (batch, 3, height, width) as the image tower takes them, tokens (batch, context).
    """

    def __init__(self, image: nn.Module, text: nn.Module):
        super().__init__()
        self.image, self.text = image, text
        self.logit_scale = nn.Parameter(torch.tensor(LOG_SCALE))

    def encode_image(self, images: Tensor) -> Tensor:
        """Features of length 1, (batch, embed_dim)."""
        return F.normalize(self.image(images), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features of length 1, (batch, embed_dim)."""
        return F.normalize(self.text(tokens), dim=-1)

    def similarity(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Cosine of every image with every caption, (images, captions), between -1 and 1."""
        return self.encode_image(images) @ self.encode_text(tokens).T

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits (images, captions)."""
        return clip_logits(self.image(images), self.text(tokens), self.logit_scale)


def clip(
    image_size: int,
    patch_size: int,
    vocabulary: int,
    context: int,
    *,
    width: int,
    depth: int,
    heads: int,
    text_width: int,
    text_depth: int,
    text_heads: int,
    embed_dim: int,
) -> CLIP:
    """An untrained CLIP; ViT-B/32 is `clip(224, 32, 49408, 77, width=768, depth=12, heads=12,
    text_width=512, text_depth=12, text_heads=8, embed_dim=512)`."""
    return CLIP(
        ImageEncoder(image_size, patch_size, width, depth, heads, embed_dim),
        TextEncoder(vocabulary, context, text_width, text_depth, text_heads, embed_dim),
    )


def small_clip() -> CLIP:
    """The CLIP of lab 06, untrained: images of 32 x 32 pixels in [-1, 1], the vocabulary of
    `words`, 270,000 parameters. Trained it is `labsupport.models.pretrained("06_clip")`."""
    return clip(32, 4, len(VOCABULARY), CONTEXT, **SMALL)
