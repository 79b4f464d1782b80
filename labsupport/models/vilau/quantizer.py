"""Residual quantization: D codes for one vector, each for what the codes before it left.

D. Lee et al., "Autoregressive Image Generation using Residual Quantization" (RQ-VAE, CVPR 2022),
section 3.1; in VILA-U (section 3.1) D = 4 codes of 16,384 for each of 16 x 16 places, or 16 for
each of 27 x 27. HART's quantizer goes from coarse to fine over *space*; here every code has the
same place, and is finer in *value* alone.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.vilau.codebook import LEAST, RunningCodebook


class Quantized(NamedTuple):
    """What quantization makes of vectors (..., dim).

    indices: int64 (..., D), the first is the coarsest.
    discrete: (..., dim), the sum of the codes. Gradients pass to the vectors as though nothing had
        happened (the straight-through estimator).
    commitment: a number, the mean over depths of the squared distance to the sum so far.
    """

    indices: Tensor
    discrete: Tensor
    commitment: Tensor


class ResidualQuantizer(nn.Module):
    """`depth` codes a vector, all from one codebook.

    Nothing but the vectors learns by gradients: they are drawn to every partial sum of codes
    (commitment) and get the gradient of whatever is made of the sum. The codebook follows by
    running averages, once a depth, D times a pass, and in training mode only. `least` is
    `RunningCodebook`'s: where a batch has few vectors for every code, the published 1 has a good
    part of them start again all the time.
    """

    def __init__(self, codes: int, dim: int, depth: int, least: float = LEAST):
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth={depth} must be at least 1: the codes of a vector")
        self.depth = depth
        self.codebook = RunningCodebook(codes, dim, least=least)

    def forward(self, x: Tensor) -> Quantized:
        rest, total = x.detach(), torch.zeros_like(x.detach())
        indices, commitment = [], x.new_zeros(())
        for _ in range(self.depth):
            index = self.codebook.nearest(rest)
            part = self.codebook.embed(index)
            if self.training:  # after the codes were read: this depth still has the old ones
                self.codebook.update(rest.flatten(0, -2), index.flatten())
            rest, total = rest - part, total + part
            indices.append(index)
            commitment = commitment + F.mse_loss(x, total)
        discrete = x + (total - x).detach()
        return Quantized(torch.stack(indices, dim=-1), discrete, commitment / self.depth)

    def accumulate(self, indices: Tensor) -> Tensor:
        """What codes (..., D) add up to, (..., dim). The first few depths alone are enough."""
        return self.codebook.embed(indices).sum(dim=-2)

    def partial_sums(self, indices: Tensor) -> Tensor:
        """The sum after each depth that `indices` (..., d) hold, (..., d, dim)."""
        return self.codebook.embed(indices).cumsum(dim=-2)
