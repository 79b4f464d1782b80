"""Hybrid tokenizer: one decoder for discrete and for continuous latents.

HART, section 3.1 and figure 4: the quantizer of VAR, and a decoder that in training is shown the
discrete latent for some images and the continuous one for the others.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.config import HartConfig
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


def encoder(patch: int, dim: int, widths: Sequence[int], blocks: int) -> nn.Sequential:
    """Images (batch, 3, 2 * patch * s, 2 * patch * s) to latents (batch, dim, s, s).

    The first steps are taken by moving pixels into channels, where convolutions are cheap.
    `widths` are the channels at full side, at 1 / patch and at 1 / (2 * patch) of it.
    """
    _, middle, deep = widths
    return nn.Sequential(
        nn.PixelUnshuffle(patch),
        nn.Conv2d(3 * patch**2, middle, 3, padding=1),
        ResidualBlock(middle),
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * middle, deep, 1),
        *(ResidualBlock(deep) for _ in range(blocks)),
        nn.GroupNorm(8, deep),
        nn.SiLU(),
        nn.Conv2d(deep, dim, 1),
    )


def decoder(patch: int, dim: int, widths: Sequence[int], blocks: int) -> nn.Sequential:
    """Latents (batch, dim, s, s) to images (batch, 3, 2 * patch * s, 2 * patch * s)."""
    shallow, middle, deep = widths
    return nn.Sequential(
        nn.Conv2d(dim, deep, 3, padding=1),
        *(ResidualBlock(deep) for _ in range(blocks)),
        nn.Conv2d(deep, 4 * middle, 1),
        nn.PixelShuffle(2),
        *(ResidualBlock(middle) for _ in range(blocks)),
        nn.GroupNorm(8, middle),
        nn.SiLU(),
        nn.Conv2d(middle, patch**2 * shallow, 3, padding=1),
        nn.PixelShuffle(patch),
        nn.SiLU(),
        nn.Conv2d(shallow, 3, 3, padding=1),
    )


class Sum(nn.Module):
    """Linear path and network, added. The network's last layer is 0 before training, so that a
    tokenizer begins as a linear one and improves on it."""

    def __init__(self, linear: nn.Conv2d | nn.ConvTranspose2d, network: nn.Sequential):
        super().__init__()
        self.linear, self.network = linear, network
        for p in network[-1].parameters():
            nn.init.zeros_(p)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.network(x)


@torch.no_grad()
def start_linear(into: nn.Module, out: nn.Module, images: Tensor) -> None:
    """Let the convolutions `into` latents and `out` of them be the principal components of patches
    of `images` (n, 3, size, size), scaled to latents of unit variance."""
    assert isinstance(into, nn.Conv2d) and isinstance(out, nn.ConvTranspose2d)
    side, dim = into.kernel_size[0], into.out_channels
    patches = F.unfold(images, side, stride=side).mT.flatten(0, 1)  # (n, 3 * side²)
    mean = patches.mean(dim=0)
    values, vectors = torch.linalg.eigh((patches - mean).T.cov())
    axes = vectors[:, -dim:].flip(1)  # (3 * side², dim), the largest first
    scale = values[-dim:].mean().sqrt()
    weight, bias = (axes / scale).T.view_as(into.weight), -mean @ axes / scale
    into.load_state_dict({"weight": weight, "bias": bias})
    # the bias has one number a colour: the mean over a patch's pixels
    weight, bias = (axes * scale).T.view_as(out.weight), mean.view(3, -1).mean(dim=1)
    out.load_state_dict({"weight": weight, "bias": bias})


def new_tokenizer(config: HartConfig) -> "HybridTokenizer":
    """An untrained tokenizer of these sizes."""
    return HybridTokenizer(
        config.size,
        config.latent_dim,
        config.codes,
        config.scales,
        config.widths,
        config.tokenizer_blocks,
    )


class HybridTokenizer(nn.Module):
    """Images (batch, 3, size, size) in [-1, 1] to latents, codes and residuals, and back.

    The last of `scales` is the side of the latent; a vector of it stands for size / side pixels,
    an even number.
    """

    def __init__(
        self,
        size: int = 48,
        dim: int = 16,
        codebook_size: int = 512,
        scales: Sequence[int] = (1, 2, 3, 4, 6, 8),
        widths: Sequence[int] = (16, 64, 160),
        blocks: int = 2,
    ):
        super().__init__()
        patch, rest = divmod(size, 2 * scales[-1])
        if rest:
            raise ValueError(
                f"size={size} must be a multiple of twice the last of the scales {tuple(scales)}"
            )
        self.size, self.dim = size, dim
        self.encoder = Sum(
            nn.Conv2d(3, dim, 2 * patch, stride=2 * patch), encoder(patch, dim, widths, blocks)
        )
        self.quantizer = MultiScaleQuantizer(codebook_size, dim, scales)
        self.decoder = Sum(
            nn.ConvTranspose2d(dim, 3, 2 * patch, stride=2 * patch),
            decoder(patch, dim, widths, blocks),
        )

    def start_from(self, images: Tensor) -> None:
        """Let the linear paths be the best linear tokenizer of `images` that there is; see
        `start_linear`."""
        start_linear(self.encoder.linear, self.decoder.linear, images)

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
