"""CLIP's two towers: a ViT that reads images, and a causal transformer that reads captions."""

import torch
from torch import Tensor, nn

from labsupport.models.clip.blocks import Block, initialise
from labsupport.models.layers import patches_a_side


class ImageEncoder(nn.Module):
    """Images (batch, 3, image_size, image_size) to features (batch, embed_dim), not normalised.

    A ViT with a class token; other than lab 01's it has no bias in the patch convolution, a norm
    *before* the blocks, and its last norm on the class token only. `stem` takes the place of the
    patch convolution: any module of images to (batch, width, grid, grid) with
    grid = image_size / patch_size.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        embed_dim: int,
        stem: nn.Module | None = None,
    ):
        super().__init__()
        tokens = patches_a_side(image_size, patch_size) ** 2
        self.patch_embed = stem or nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(tokens + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Linear(width, embed_dim, bias=False)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch_embed(images).flatten(2).transpose(1, 2)  # (batch, tokens, width)
        first = self.class_embedding.expand(len(x), 1, -1)  # (batch, 1, width)
        x = torch.cat([first, x], dim=1) + self.positional_embedding  # (batch, tokens + 1, width)
        x = self.ln_pre(x)
        for block in self.blocks:
            x = block(x)
        return self.proj(self.ln_post(x[:, 0]))  # (batch, embed_dim)


class TextEncoder(nn.Module):
    """Token numbers (batch, context) to features (batch, embed_dim), not normalised.

    A causal transformer, read at the token <end>: the largest number of a row, and the only one
    that has seen the whole caption. What is padded behind it cannot be seen by it.
    """

    def __init__(
        self, vocabulary: int, context: int, width: int, depth: int, heads: int, embed_dim: int
    ):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.ModuleList(Block(width, heads, causal=True) for _ in range(depth))
        self.ln_final = nn.LayerNorm(width)
        self.proj = nn.Linear(width, embed_dim, bias=False)
        initialise(self)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding  # (batch, context, width)
        for block in self.blocks:
            x = block(x)
        end = tokens.argmax(dim=1)  # (batch,)
        x = self.ln_final(x)[torch.arange(len(x)), end]  # (batch, width)
        return self.proj(x)  # (batch, embed_dim)
