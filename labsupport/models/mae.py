"""The masked autoencoder: see a quarter of the patches, predict the others' pixels.

K. He et al., "Masked Autoencoders Are Scalable Vision Learners" (CVPR 2022), written from the
paper. With the same weights and noise it computes what `transformers`' ViTMAE computes; the
parity tests show it. The defaults are the paper's ViT-B/16.
"""

import copy
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from labsupport.models.layers import initialise_xavier
from labsupport.models.masking import random_noise
from labsupport.models.vit import NORM_EPS, EncoderBlock, PatchEmbedding

VARIANCE_EPS = 1e-6  # of the normalised target: a patch of one grey gives zeros, not 0 / 0


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Patches (batch, tokens, patch_size² * channels) of images (batch, channels, height, width):
    row by row, and in a patch pixel by pixel with the channel fastest."""
    return rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=patch_size, q=patch_size)


def unpatchify(patches: Tensor, patch_size: int, rows: int) -> Tensor:
    """The images that `patchify` cut, with `rows` rows of patches."""
    return rearrange(
        patches, "b (h w) (p q c) -> b c (h p) (w q)", p=patch_size, q=patch_size, h=rows
    )


def sincos_table(rows: int, columns: int, dim: int) -> Tensor:
    """Fixed positions (1, rows * columns + 1, dim); the class token's, index 0, is zero.

    Half of the channels say the column and half the row, each as sines, then cosines, of the index
    times 10000^(-i / (dim / 4)). Raises ValueError where 4 does not divide `dim`.
    """
    if dim % 4:
        raise ValueError(f"dim={dim} must be divisible by 4")
    speed = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [index.flatten()[:, None] * speed for index in (column, row)]
    table = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
    return torch.cat([torch.zeros(1, dim), table.float()])[None]


def random_masking(
    tokens: Tensor, mask_ratio: float, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the int(n * (1 - mask_ratio)) tokens of `tokens` (batch, n, dim) with least noise.

    `noise` is (batch, n). Returns the kept tokens in order of their noise (batch, kept, dim), the
    mask (batch, n), 1 where a token was removed, and `restore` (batch, n): the place that each
    token has in the order of noise.
    """
    batch, n, dim = tokens.shape
    kept = int(n * (1 - mask_ratio))
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, dim))
    return visible, (restore >= kept).to(tokens.dtype), restore


def put_back(visible: Tensor, mask_token: Tensor, restore: Tensor) -> Tensor:
    """The full sequence (batch, n, dim): each of `visible` (batch, kept, dim) where it came from,
    and `mask_token` (1, 1, dim) everywhere else. `restore` as from `random_masking`."""
    batch, kept, dim = visible.shape
    missing = mask_token.expand(batch, restore.shape[1] - kept, -1)
    shuffled = torch.cat([visible, missing], dim=1)
    return shuffled.gather(1, restore[:, :, None].expand(-1, -1, dim))


def normalise_patches(patches: Tensor) -> Tensor:
    """Each patch of (batch, n, values) with mean 0 and variance 1 (unbiased) over its values."""
    mean = patches.mean(dim=-1, keepdim=True)
    return (patches - mean) / (patches.var(dim=-1, keepdim=True) + VARIANCE_EPS).sqrt()


def masked_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the values of the removed patches: (batch, n, values) twice, and
    a mask (batch, n), to one number."""
    per_patch = (predicted - target).square().mean(dim=-1)
    return (per_patch * mask).sum() / mask.sum()


class MAEEncoder(nn.Module):
    """A ViT that sees only what the mask leaves: images (batch, channels, side, side) to latents
    (batch, kept + 1, dim) with the class token first, mask and restore as of `random_masking`."""

    positions: Tensor

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4,
        in_channels: int = 3,
    ):
        super().__init__()
        self.patch_embed = PatchEmbedding(image_size, patch_size, in_channels, dim)
        side = image_size // patch_size
        self.grid = (side, side)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.register_buffer("positions", sincos_table(side, side, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        initialise_xavier(self)
        nn.init.normal_(self.cls_token, std=0.02)

    def forward(
        self, images: Tensor, mask_ratio: float = 0.75, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if noise is None:
            noise = random_noise(len(images), self.grid).to(images.device)
        x = self.patch_embed(images) + self.positions[:, 1:]  # (batch, tokens, dim)
        x, mask, restore = random_masking(x, mask_ratio, noise)
        first = (self.cls_token + self.positions[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([first, x], dim=1)  # (batch, kept + 1, dim)
        for block in self.blocks:
            x = block(x)
        return self.norm(x), mask, restore


class MAEDecoder(nn.Module):
    """Latents (batch, kept + 1, encoder_dim) and restore (batch, tokens) to a prediction for every
    patch, (batch, tokens, values)."""

    positions: Tensor

    def __init__(
        self,
        grid: tuple[int, int] = (14, 14),
        encoder_dim: int = 768,
        values: int = 768,
        dim: int = 512,
        depth: int = 8,
        heads: int = 16,
        mlp_ratio: float = 4,
    ):
        super().__init__()
        self.embed = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.register_buffer("positions", sincos_table(*grid, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.pred = nn.Linear(dim, values)
        initialise_xavier(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, latents: Tensor, restore: Tensor) -> Tensor:
        x = self.embed(latents)
        patches = put_back(x[:, 1:], self.mask_token, restore)
        x = torch.cat([x[:, :1], patches], dim=1) + self.positions  # (batch, tokens + 1, dim)
        for block in self.blocks:
            x = block(x)
        return self.pred(self.norm(x))[:, 1:]


class MaskedAutoencoder(nn.Module):
    """Encoder, decoder and loss: images to the loss, the predicted patches and the mask.

    `draw` makes the noise, see `labsupport.models.masking`; `normalise` takes the normalised
    pixels of each patch for the target instead of the pixels.
    """

    def __init__(
        self,
        encoder: MAEEncoder,
        decoder: MAEDecoder,
        mask_ratio: float = 0.75,
        normalise: bool = True,
        draw: Callable[[int, tuple[int, int]], Tensor] = random_noise,
    ):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.mask_ratio, self.normalise, self.draw = mask_ratio, normalise, draw

    def forward(self, images: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        if noise is None:
            noise = self.draw(len(images), self.encoder.grid).to(images.device)
        latents, mask, restore = self.encoder(images, self.mask_ratio, noise)
        predicted = self.decoder(latents, restore)
        target = patchify(images, self.encoder.patch_embed.patch_size)
        if self.normalise:
            target = normalise_patches(target)
        return masked_loss(predicted, target, mask), predicted, mask


def small_mae(
    mask_ratio: float = 0.75,
    normalise: bool = True,
    draw: Callable[[int, tuple[int, int]], Tensor] = random_noise,
) -> MaskedAutoencoder:
    """The masked autoencoder of lab 07, untrained: 32 x 32 pixels, 64 patches, 350,000
    parameters. Trained it is `labsupport.models.pretrained("07_mae")`."""
    encoder = MAEEncoder(32, 4, dim=96, depth=4, heads=3, mlp_ratio=2)
    decoder = MAEDecoder(encoder.grid, 96, 3 * 4**2, dim=64, depth=1, heads=2, mlp_ratio=2)
    return MaskedAutoencoder(encoder, decoder, mask_ratio, normalise, draw)


class PooledClassifier(nn.Module):
    """Logits (batch, classes) from a copy of an encoder that sees every patch: the mean of its
    patch tokens, normalised (the encoder's own last norm is left out), and a linear layer."""

    def __init__(self, encoder: nn.Module, dim: int, classes: int):
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder.norm = nn.Identity()
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.head = nn.Linear(dim, classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        latents = self.encoder(images, 0.0)[0]
        return self.head(self.norm(latents[:, 1:].mean(dim=1)))
