"""A codebook that follows what it stands for by running averages; no gradient reaches it.

A. van den Oord et al., "Neural Discrete Representation Learning" (VQ-VAE, NeurIPS 2017), appendix
A.1; D. Lee et al., "Autoregressive Image Generation using Residual Quantization" (RQ-VAE, CVPR
2022), whose code VILA-U takes over, for the restarts.
"""

import math

import torch
from torch import Tensor, nn

DECAY, EPS = 0.99, 1e-5
LEAST = 1.0  # vectors of a batch that have to choose a code, or it starts again
NOISE = 0.01  # of copies, where there are fewer vectors than codes; length, in units of the latent


class RunningCodebook(nn.Module):
    """`codes` vectors of `dim` numbers. (The published one has a row more, which nothing reads.)

    `counts` (codes,) is the running average of how many vectors of a batch chose a code, `sums`
    (codes, dim) that of their sum; a code is sum over smoothed count. All three are buffers: they
    move by `update`, which whoever owns the codebook calls in training, and in eval mode stay.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self, codes: int, dim: int, decay: float = DECAY, eps: float = EPS, least: float = LEAST
    ):
        super().__init__()
        self.decay, self.eps, self.least = decay, eps, least
        self.register_buffer("vectors", torch.randn(codes, dim))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", self.vectors.clone())

    @torch.no_grad()
    def nearest(self, values: Tensor) -> Tensor:
        """Index of the code at the least squared distance: (..., dim) to (...)."""
        codes = self.vectors
        return (codes.square().sum(dim=1) - 2 * values @ codes.T).argmin(dim=-1)

    def embed(self, indices: Tensor) -> Tensor:
        """Codes by index: (...) to (..., dim)."""
        return self.vectors[indices]

    @torch.no_grad()
    def update(self, values: Tensor, indices: Tensor) -> None:
        """Move towards the `values` (n, dim) that chose the codes `indices` (n,).

        Count and sum of every code go 1 − decay of the way to this batch's. A code whose running
        count is below `least` starts again, at a value of the batch drawn at random, with a count
        of 1: at the first update, with counts of 0 before, nearly all do. Laplace smoothing then
        divides by N (count + eps) / (N + codes · eps), N the sum of counts: never by 0. Random
        numbers are the global generator's.
        """
        chosen = torch.zeros_like(self.counts).index_add_(
            0, indices, torch.ones_like(indices, dtype=self.counts.dtype)
        )
        total = torch.zeros_like(self.sums).index_add_(0, indices, values.to(self.sums))
        self.counts.mul_(self.decay).add_(chosen, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(total, alpha=1 - self.decay)
        dead = self.counts < self.least
        self.sums.copy_(torch.where(dead[:, None], self.fresh(values), self.sums))
        self.counts.masked_fill_(dead, 1.0)
        self.vectors.copy_(self.sums / self.smoothed()[:, None])

    def smoothed(self) -> Tensor:
        """Counts (codes,) with `eps` added to each, their sum kept: Laplace smoothing."""
        total = self.counts.sum()
        return total * (self.counts + self.eps) / (total + len(self.counts) * self.eps)

    def fresh(self, values: Tensor) -> Tensor:
        """As many vectors as there are codes, (codes, dim), drawn from `values` (n, dim) without
        putting back; of fewer values there are copies, a little apart from each other."""
        codes, dim = self.vectors.shape
        if len(values) < codes:
            values = values.repeat(-(-codes // len(values)), 1)
            values = values + torch.rand_like(values) * (NOISE / math.sqrt(dim))
        return values[torch.randperm(len(values), device=values.device)[:codes]].to(self.sums)
