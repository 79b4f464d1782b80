"""Generators of a tokenizer's latents, and what the training of each of them does.

HART and everything it is compared with learn from images with captions, through a tokenizer that
is used as it is. They have `measure(images)`, `loss(images, text, generator)` and `generate`.
"""

import torch
from torch import Tensor, nn

from labsupport.models.hart.tokenizer import HybridTokenizer

CAPTION_DROP = 0.1  # share of the images that train without their caption


def drop_captions(text: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Empty the captions, (batch, words), of a random 10% of the images."""
    dropped = torch.rand(len(text), generator=generator) < CAPTION_DROP
    return text.masked_fill(dropped[:, None], 0)


def pick(values: Tensor, places: Tensor) -> Tensor:
    """Rows of values (batch, tokens, dim) at places (batch, n): (batch, n, dim)."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[2]))


class LatentGenerator(nn.Module):
    """A generator over a `tokenizer` that does not learn, and stays in eval mode."""

    def __init__(self, tokenizer: HybridTokenizer):
        super().__init__()
        self.tokenizer = tokenizer.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "LatentGenerator":
        super().train(mode)
        self.tokenizer.eval()
        return self
