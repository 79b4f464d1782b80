"""Heads: from hidden states to logits over the codes of the codebook."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIRST_SCALE = 0.25  # of the distances, before training


class Prediction(NamedTuple):
    """logits (batch, tokens, codes); latents (batch, tokens, dim): the image's latent at that
    scale and place as the head expects it, or None where the head has no such opinion."""

    logits: Tensor
    latents: Tensor | None


class LinearHead(nn.Linear):
    """HART's own: one linear layer to the codes."""

    def __init__(self, dim: int, codebook: Tensor, scales: int):
        super().__init__(dim, len(codebook))

    def forward(  # type: ignore[override]  # all heads are called alike, a plain layer is not
        self, hidden: Tensor, shown: Tensor, number: Tensor, unit: Tensor
    ) -> Prediction:
        return Prediction(super().forward(hidden), None)


class CodebookHead(nn.Module):
    """A softmax that knows how codes are chosen: the nearest to what is missing.

    A linear layer predicts the latent; what is missing is that minus what is `shown` (the map so
    far, which is the transformer's input); the logit of a code e is s (2 z·e − |e|²), which is
    largest for the nearest e, plus a linear layer's own. `s` is learned for every scale. Not in
    HART: at this size a plain linear layer learns several times more slowly.
    """

    codebook: Tensor

    def __init__(self, dim: int, codebook: Tensor, scales: int):
        super().__init__()
        self.register_buffer("codebook", codebook.detach().clone())
        self.latent = nn.Linear(dim, codebook.shape[1])
        self.free = nn.Linear(dim, len(codebook))
        self.log_scale = nn.Parameter(torch.full((scales,), FIRST_SCALE).log())

    def forward(self, hidden: Tensor, shown: Tensor, number: Tensor, unit: Tensor) -> Prediction:
        """hidden (batch, tokens, dim), shown (batch, tokens, latent dim), number (tokens,): the
        scale that every token belongs to, from 0. Latents come and go in multiples of `unit`."""
        latents = self.latent(hidden)
        codes = self.codebook / unit
        near = F.linear(latents - shown, 2 * codes, -codes.square().sum(dim=1))
        scale = self.log_scale.exp()[number.clamp(max=len(self.log_scale) - 1)]
        return Prediction(self.free(hidden) + scale[..., None] * near, latents)


HEADS: dict[str, type[CodebookHead] | type[LinearHead]] = {
    "codebook": CodebookHead,
    "linear": LinearHead,
}
