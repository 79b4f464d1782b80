"""The hybrid tokenizer: one decoder for discrete and for continuous latents.

HART, section 3.1 and figure 4: the quantizer of VAR, and a decoder that in training is shown the
discrete latent for some images and the continuous one for the others.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.quantizer import MultiScaleQuantizer, Quantized


class ResidualBlock(nn.Module):
    """x + two 3 x 3 convolutions of normalised x: (batch, dim, h, w) to the same shape."""

    def __init__(self, dim: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, dim) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(F.silu(norm(y)))
        return x + y


def encoder(dim: int, widths: Sequence[int], blocks: int) -> nn.Sequential:
    """Images (batch, 3, 8s, 8s) to latents (batch, dim, s, s).

    The first steps are taken by moving pixels into channels, where convolutions are cheap.
    `widths` are the channels at 1/4 and 1/8 of the side.
    """
    middle, deep = widths[-2:]
    return nn.Sequential(
        nn.PixelUnshuffle(4), nn.Conv2d(48, middle, 3, padding=1),
        ResidualBlock(middle),
        nn.PixelUnshuffle(2), nn.Conv2d(4 * middle, deep, 1),
        *(ResidualBlock(deep) for _ in range(blocks)),
        nn.GroupNorm(8, deep), nn.SiLU(), nn.Conv2d(deep, dim, 1))


def decoder(dim: int, widths: Sequence[int], blocks: int) -> nn.Sequential:
    """Latents (batch, dim, s, s) to images (batch, 3, 8s, 8s); `widths` are the channels at 1/2,
    1/4 and 1/8 of the side."""
    shallow, middle, deep = widths
    return nn.Sequential(
        nn.Conv2d(dim, deep, 3, padding=1),
        *(ResidualBlock(deep) for _ in range(blocks)),
        nn.Conv2d(deep, 4 * middle, 1), nn.PixelShuffle(2),
        *(ResidualBlock(middle) for _ in range(blocks)),
        nn.Conv2d(middle, 4 * shallow, 1), nn.PixelShuffle(2),
        ResidualBlock(shallow),
        nn.GroupNorm(8, shallow), nn.SiLU(),
        nn.Conv2d(shallow, 12, 3, padding=1), nn.PixelShuffle(2))


class HybridTokenizer(nn.Module):
    """Images (batch, 3, size, size) in [-1, 1] to latents, codes and residuals, and back.

    `scales` end with size / 8, the side of the latent.
    """

    def __init__(self, size: int = 64, dim: int = 16, codebook_size: int = 512,
                 scales: Sequence[int] = (1, 2, 3, 4, 6, 8),
                 widths: Sequence[int] = (32, 96, 128), blocks: int = 2):
        super().__init__()
        if scales[-1] * 8 != size:
            raise ValueError(f"scales={tuple(scales)} must end with size / 8 = {size / 8:g}")
        self.size, self.dim = size, dim
        self.encoder = encoder(dim, widths, blocks)
        self.quantizer = MultiScaleQuantizer(codebook_size, dim, scales)
        self.decoder = decoder(dim, widths, blocks)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(dim, side, side)."""
        return self.dim, self.quantizer.side, self.quantizer.side

    def encode(self, images: Tensor) -> Tensor:
        """The continuous latent, (batch, dim, side, side)."""
        return self.encoder(images)

    def tokenize(self, images: Tensor) -> Quantized:
        """Codes, discrete latent and rests of images; see `Quantized`."""
        return self.quantizer(self.encode(images))

    def decode(self, latent: Tensor) -> Tensor:
        """Images of latents, whether discrete, continuous or in between."""
        return self.decoder(latent)
