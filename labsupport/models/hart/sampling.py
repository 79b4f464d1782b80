"""Sampling: codes chosen from logits, and random numbers that belong to an image, not to its batch.

Top-k, nucleus (A. Holtzman et al., 2020) and guidance that grows with the scale (VAR's code).
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """Random numbers for a batch, every image with a generator of its own: an image comes out the
    same whichever others are drawn beside it.

    seeds: one an image; or one number, from which the images of the batch count up.
    """

    def __init__(self, seeds: int | Sequence[int], images: int):
        if isinstance(seeds, int):
            seeds = range(seeds, seeds + images)
        if len(seeds) != images:
            raise ValueError(f"{len(seeds)} seeds for {images} captions")
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def normal(self, *shape: int) -> Tensor:
        """(images, *shape), standard normal."""
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators])

    def uniform(self, *shape: int) -> Tensor:
        """(images, *shape), between 0 and 1."""
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators])


def with_empty(captions: Tensor) -> Tensor:
    """Captions (batch, words), and as many empty ones behind them: (2 batch, words). What guidance
    compares goes through a network together."""
    return torch.cat([captions, torch.zeros_like(captions)])


def guidance_at(k: int, scales: int, guidance: float) -> float:
    """The guidance of scale number k of `scales`: none at the first, all of it at the last."""
    return guidance * k / max(scales - 1, 1)


def guided(given: Tensor, free: Tensor, t: float) -> Tensor:
    """Away from what a model answers without the caption: (1 + t)·given − t·free (J. Ho and
    T. Salimans, "Classifier-Free Diffusion Guidance", 2022)."""
    return (1 + t) * given - t * free


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """All but the k largest logits of every row become −inf."""
    if k >= logits.shape[-1]:
        return logits
    least = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The fewest codes of every row whose probabilities add up to p at least keep their logits."""
    ranked, order = logits.sort(dim=-1, descending=True)
    probability = ranked.softmax(dim=-1)
    out = probability.cumsum(dim=-1) - probability >= p  # enough before this one
    return logits.masked_fill(out.scatter(-1, order, out), -torch.inf)


def choose(
    logits: Tensor,
    uniform: Tensor | None = None,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Tensor:
    """Codes (...) for logits (..., codes). A temperature of 0 takes the most probable ones;
    otherwise `uniform` (...) holds the random numbers. top_k=0 and top_p=1 leave all codes."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    if uniform is None:
        raise ValueError(f"temperature={temperature} needs random numbers, uniform")
    logits = logits / temperature
    if top_k:
        logits = keep_top_k(logits, top_k)
    if top_p < 1:
        logits = keep_top_p(logits, top_p)
    total = logits.softmax(dim=-1).double().cumsum(dim=-1)
    at = torch.searchsorted(total, (uniform.double() * total[..., -1])[..., None], right=True)
    return at.squeeze(-1).clamp(max=logits.shape[-1] - 1)
