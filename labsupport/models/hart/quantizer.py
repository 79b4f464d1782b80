"""Codes of several scales: a latent as a small map of codes, a larger one for the rest, and so on.

K. Tian et al., "Visual Autoregressive Modeling" (VAR, NeurIPS 2024), section 3.2, algorithms 1
and 2; as HART has it, the last scale has no convolution behind its codes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BETA = 0.25  # weight of the encoder's share of the codebook loss


class Quantized(NamedTuple):
    """What quantization makes of latents (batch, dim, side, side).

    indices: int64 (batch, tokens), the codes of all scales, row by row, one scale after another.
    discrete: (batch, dim, side, side), what the codes add up to. Gradients pass to the latent as
        though nothing had happened (the straight-through estimator).
    before_last: (batch, dim, side, side), what is left to explain before the last scale.
    loss: a number, see `MultiScaleQuantizer`.
    """

    indices: Tensor
    discrete: Tensor
    before_last: Tensor
    loss: Tensor


class Phi(nn.Conv2d):
    """Half the map, half its 3 x 3 convolution: smooths what enlarging left (VAR's code)."""

    def __init__(self, dim: int):
        super().__init__(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x + 0.5 * super().forward(x)


class MultiScaleQuantizer(nn.Module):
    """Latents (batch, dim, side, side) to codes at every scale and back.

    Each scale explains what the scales before it left: the rest is averaged down to the scale,
    every vector replaced by the nearest of `codebook_size` codes, the map enlarged again
    (bicubic), smoothed by a convolution of the scale's own, and subtracted. The last of `scales`
    is the side of the latent; there nothing is resized or smoothed, so that what remains is
    latent minus code: the residual token of HART.

    The loss is the mean over scales of |discrete so far - sg(latent)|² + 0.25 |latent - sg(discrete
    so far)|²; sg stops gradients.
    """

    def __init__(self, codebook_size: int, dim: int, scales: Sequence[int]):
        super().__init__()
        if list(scales) != sorted(set(scales)) or scales[0] < 1:
            raise ValueError(f"scales={tuple(scales)} must be whole numbers that grow")
        self.scales = tuple(scales)
        self.codebook = nn.Embedding(codebook_size, dim)
        nn.init.normal_(self.codebook.weight, std=0.5)
        self.phi = nn.ModuleList([Phi(dim) for _ in scales[:-1]] + [nn.Identity()])

    @property
    def side(self) -> int:
        """Side of the latent, in vectors."""
        return self.scales[-1]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each scale."""
        return [scale * scale for scale in self.scales]

    def nearest(self, vectors: Tensor) -> Tensor:
        """Index of the code with the least squared distance: (..., dim) to (...)."""
        codes = self.codebook.weight
        return (codes.square().sum(dim=1) - 2 * vectors @ codes.T).argmin(dim=-1)

    def contribution(self, k: int, indices: Tensor) -> Tensor:
        """What scale number k adds: indices (batch, scale²) to (batch, dim, side, side)."""
        return self.spread(k, self.codebook(indices))

    def spread(self, k: int, vectors: Tensor) -> Tensor:
        """Vectors of scale number k, (batch, scale², dim), as a map (batch, dim, side, side)."""
        scale = self.scales[k]
        grid = vectors.transpose(1, 2).unflatten(2, (scale, scale))  # (batch, dim, scale, scale)
        if scale != self.side:
            grid = F.interpolate(grid, size=(self.side, self.side), mode="bicubic")
        return self.phi[k](grid)

    def forward(self, latent: Tensor) -> Quantized:
        rest, discrete = latent.detach(), torch.zeros_like(latent)
        indices, loss = [], latent.new_zeros(())
        for k, scale in enumerate(self.scales):
            before_last = rest
            small = F.interpolate(rest, size=(scale, scale), mode="area")
            indices.append(self.nearest(small.flatten(2).transpose(1, 2)))  # (batch, scale²)
            part = self.contribution(k, indices[-1])
            discrete = discrete + part
            rest = rest - part.detach()
            loss = (
                loss
                + F.mse_loss(discrete, latent.detach())
                + BETA * F.mse_loss(latent, discrete.detach())
            )
        straight_through = latent + (discrete - latent).detach()
        return Quantized(
            torch.cat(indices, dim=1), straight_through, before_last, loss / len(self.scales)
        )

    def accumulate(self, indices: Tensor) -> Tensor:
        """What codes (batch, tokens) add up to. Codes of the first scales alone are enough."""
        return self.partial_sums(indices)[-1]

    def partial_sums(self, indices: Tensor) -> list[Tensor]:
        """The map after each scale that `indices` (batch, tokens) hold, coarse to fine."""
        sums: list[Tensor] = []
        start = 0
        for k, length in enumerate(self.lengths):
            if start == indices.shape[1]:
                break
            part = self.contribution(k, indices[:, start : start + length])
            sums.append(sums[-1] + part if sums else part)
            start += length
        return sums

    def next_input(self, accumulated: Tensor, k: int) -> Tensor:
        """What a transformer is shown to predict scale number k: the map so far at that scale's
        size, (batch, dim, side, side) to (batch, scale², dim)."""
        scale = self.scales[k]
        return F.interpolate(accumulated, size=(scale, scale), mode="area").flatten(2).mT

    def inputs(self, indices: Tensor) -> Tensor:
        """`next_input` of every scale but the first, for training: (batch, tokens - first scale²,
        dim)."""
        sums = self.partial_sums(indices)
        return torch.cat(
            [self.next_input(total, k + 1) for k, total in enumerate(sums[:-1])], dim=1
        )
