"""VILA-U: tower, projector, trunk and depth transformer; one loss for reading and for drawing.

VILA-U, section 3.2: "next-token prediction" for both. Words are predicted by a linear layer of the
trunk's states, an image's codes by the depth transformer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.attention import Cache
from labsupport.models.hart.heads import Prediction
from labsupport.models.vilau.attention import padded_mask
from labsupport.models.vilau.config import VilaUConfig
from labsupport.models.vilau.depth import DepthTransformer
from labsupport.models.vilau.sequence import Mixed, fill, mix, states_before
from labsupport.models.vilau.tower import VisualTower, new_tower
from labsupport.models.vilau.trunk import Trunk
from labsupport.models.vilau.words import IGNORE, IMAGE

LATENT_WEIGHT = 1.0  # of a codebook head's own loss, as in HART's generator


class UnifiedLoss(NamedTuple):
    """`total` to be minimised; `text` and `image`, the cross-entropies of words and codes, each a
    mean over what is learned of its kind and 0 where nothing is; `codes` (D,), that of each depth;
    `latents`, the codebook head's own, 0 for a linear head."""

    total: Tensor
    text: Tensor
    image: Tensor
    codes: Tensor
    latents: Tensor


def projector(dim: int, width: int) -> nn.Sequential:
    """From an image's quantized features to the trunk: two linear layers, GELU between
    ("mlp2x_gelu")."""
    return nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))


class VilaU(nn.Module):
    """A visual tower, which is used as it is and stays in eval mode, and what learns with words."""

    def __init__(self, config: VilaUConfig | None = None, tower: VisualTower | None = None):
        super().__init__()
        self.config = config = VilaUConfig() if config is None else config
        self.tower = new_tower(config.tower) if tower is None else tower
        self.tower.requires_grad_(False).eval()
        self.projector = projector(self.tower.dim, config.trunk.dim)
        self.trunk = Trunk(config.trunk)
        self.depth = DepthTransformer(config.depth, self.tower.quantizer.codebook.vectors)

    def train(self, mode: bool = True) -> "VilaU":
        super().train(mode)
        self.tower.eval()  # or its codebook would go on moving
        return self

    def inputs(self, words: Tensor, features: Tensor | None) -> Tensor:
        """What the trunk sees: vectors of `words` (batch, tokens), and in the places of images
        their quantized `features` (images, places, dim) through the projector."""
        vectors = self.trunk.words(words.clamp(min=0))
        return vectors if features is None else fill(vectors, words, self.projector(features))

    def states(
        self, mixed: Mixed, features: Tensor | None, cache: list[Cache] | None = None
    ) -> Tensor:
        """Hidden states of the whole row, (batch, tokens, dim)."""
        x = self.inputs(mixed.words, features)
        if mixed.real.all():
            return self.trunk(x, cache=cache)
        return self.trunk(x, padded_mask(mixed.real), cache)

    def forward(
        self, mixed: Mixed, images: Tensor | None = None
    ) -> tuple[Tensor, Prediction | None]:
        """Logits of the next word at every token, (batch, tokens, words), and of the codes of the
        places to be drawn, given those before, (places, D, codes), or None where there are none.
        `images` (images, 3, size, size) are those of the rows, one after another."""
        return self.predict(mixed, *self.look(images))

    @torch.no_grad()
    def look(self, images: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Quantized features (images, places, dim) and codes (images, places, D) of images."""
        if images is None:
            return None, None
        quantized = self.tower.tokenize(images)
        return quantized.discrete, quantized.indices

    def predict(
        self, mixed: Mixed, features: Tensor | None, codes: Tensor | None
    ) -> tuple[Tensor, Prediction | None]:
        """As `forward`, of what `look` says of the images."""
        states = self.states(mixed, features)
        words = self.trunk.head(states)
        if codes is None or not mixed.drawn.any():
            return words, None
        before = states_before(states, mixed.drawn)
        sums = self.tower.quantizer.partial_sums(self._drawn(mixed, codes)[:, :-1])
        return words, self.depth(before, sums)

    def _drawn(self, mixed: Mixed, values: Tensor) -> Tensor:
        """Of values (images, places, …) those of the images to be drawn, (places, …)."""
        return values.flatten(0, 1)[mixed.drawn[mixed.words == IMAGE]]

    def loss(
        self, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], images: Tensor
    ) -> UnifiedLoss:
        """The loss of sequences (words, labels) with one image each, (batch, 3, size, size) in
        [-1, 1]. The sum of both cross-entropies, with equal weights."""
        mixed = mix(sequences, self.tower.tokens).to(images.device)
        features, codes = self.look(images)
        words, predicted = self.predict(mixed, features, codes)
        nothing = words.new_zeros(())
        text = nothing
        if (mixed.labels != IGNORE).any():
            # the state at a token is for the next one's label
            text = F.cross_entropy(words[:, :-1].flatten(0, 1), mixed.labels[:, 1:].flatten())
        if predicted is None or codes is None or features is None:
            return UnifiedLoss(text, text, nothing, nothing.expand(self.depth.steps), nothing)
        each = F.cross_entropy(predicted.logits.mT, self._drawn(mixed, codes), reduction="none")
        image, latents = each.mean(), nothing
        if predicted.latents is not None:
            # what a codebook head takes the codes to be nearest to: the place's features
            goal = self._drawn(mixed, features)[:, None].expand_as(predicted.latents)
            latents = F.mse_loss(predicted.latents, goal)
        total = text + image + LATENT_WEIGHT * latents
        return UnifiedLoss(total, text, image, each.mean(dim=0).detach(), latents)
