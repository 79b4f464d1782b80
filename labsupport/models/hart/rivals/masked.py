"""Masked autoregression, a rival of HART: continuous tokens in random order, several at a time,
each by diffusion.

T. Li et al., "Autoregressive Image Generation without Vector Quantization" (MAR, 2024). Smaller
than theirs in one way: a single transformer sees known and masked tokens, where MAR has an encoder
of the known ones and a decoder of all.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from labsupport.data.transforms import to_unit
from labsupport.models.hart.base import LatentGenerator, drop_captions, pick
from labsupport.models.hart.blocks import Block, initialise, swiglu_width, through
from labsupport.models.hart.positions import grid_angles, text_angles
from labsupport.models.hart.residual import ResidualDiffusion
from labsupport.models.hart.sampling import Draws, guidance_at, with_empty
from labsupport.models.hart.tokenizer import HybridTokenizer

LEAST_MASKED = 0.7  # share of an image's tokens in training


def masked_in_training(
    images: int, tokens: int, generator: torch.Generator | None = None
) -> Tensor:
    """(images, n) places of the tokens to predict, n the same for all: a share that is normal
    around 1 with deviation 0.25, between 0.7 and 1."""
    share = 2.0
    while not LEAST_MASKED <= share <= 1:
        share = 1 + 0.25 * torch.randn((), generator=generator).item()
    order = torch.rand(images, tokens, generator=generator).argsort(dim=1)
    return order[:, : math.ceil(share * tokens)]


def still_masked(iteration: int, iterations: int, tokens: int) -> int:
    """How many tokens are unknown after iteration number `iteration`, from 0: a cosine, so that
    few are decided at first and many at the end; at least one at a time, none left at the end."""
    left = math.floor(tokens * math.cos(math.pi / 2 * (iteration + 1) / iterations))
    return min(max(left, iterations - 1 - iteration), tokens - 1 - iteration)


class MaskedAR(LatentGenerator):
    """Latents of a tokenizer: a transformer looks both ways at a caption, known tokens and blanks;
    an MLP draws the tokens that belong in the blanks."""

    angles: Tensor

    def __init__(
        self,
        tokenizer: HybridTokenizer,
        vocabulary: int,
        text_length: int,
        dim: int = 128,
        depth: int = 6,
        heads: int = 4,
        width: int = 128,
        diffusion_depth: int = 3,
    ):
        super().__init__(tokenizer)
        channels, side, _ = tokenizer.latent_shape
        self.text_length, self.tokens = text_length, side**2
        self.text = nn.Embedding(vocabulary, dim)
        self.word = nn.Linear(channels, dim)
        self.blank = nn.Parameter(torch.zeros(dim))
        self.blocks = nn.ModuleList(Block(dim, heads, swiglu_width(dim, 32)) for _ in range(depth))
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        initialise(self, dim, depth)
        nn.init.normal_(self.blank, std=math.sqrt(1 / dim / 3))
        self.diffusion = ResidualDiffusion(channels, dim, width, diffusion_depth)
        angles = torch.cat(
            [
                text_angles(text_length, dim // heads),
                grid_angles([side], dim // heads, side, text_length),
            ]
        )
        self.register_buffer("angles", angles, persistent=False)

    @torch.no_grad()
    def measure(self, images: Tensor) -> None:
        """Take the scale of tokens from images in [-1, 1]: once, before training."""
        self.diffusion.measure(self.tokenizer.encode(images))

    def forward(self, text: Tensor, latents: Tensor, known: Tensor) -> Tensor:
        """text (batch, words), latents (batch, tokens, latent dim), known (batch, tokens) true or
        false: a condition for every token, (batch, tokens, dim)."""
        seen = self.word(latents / self.diffusion.scale)
        x = torch.where(known[..., None], seen, self.blank)
        x = torch.cat([self.text(text), x], dim=1)
        x = through(self.blocks, x, self.angles)
        return self.norm(x[:, self.text_length :])

    def loss(
        self,
        images: Tensor,
        text: Tensor,
        generator: torch.Generator | None = None,
        *,
        repeats: int = 4,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Hart.loss`: the diffusion loss of the masked tokens, each at `repeats` times."""
        with torch.no_grad():
            latents = self.tokenizer.encode(images).flatten(2).mT
        places = masked_in_training(len(images), self.tokens, generator)
        known = torch.ones(latents.shape[:2], dtype=torch.bool).scatter(1, places, False)
        conditions = self(drop_captions(text, generator), latents, known)
        loss = self.diffusion.loss(
            pick(latents, places).flatten(0, 1),
            pick(conditions, places).flatten(0, 1),
            generator,
            repeats,
        )
        return loss, {"velocity": loss.detach()}

    @torch.no_grad()
    def generate(
        self,
        captions: Tensor,
        steps: int = 30,
        guidance: float = 1.0,
        seed: int | Sequence[int] = 0,
        on_step: Callable[[int, Tensor], None] | None = None,
        *,
        iterations: int = 16,
        temperature: float = 1.0,
    ) -> Tensor:
        """As `Hart.generate`: `iterations` passes of the transformer, after each of which `steps`
        of diffusion draw some tokens. Guidance grows with the iterations."""
        if not 1 <= iterations <= self.tokens:
            raise ValueError(f"iterations={iterations} must be between 1 and {self.tokens}")
        images, (channels, side, _) = len(captions), self.tokenizer.latent_shape
        draws = Draws(seed, images)
        order = draws.uniform(self.tokens).argsort(dim=1)
        latents = torch.zeros(images, self.tokens, channels)
        known = torch.zeros(images, self.tokens, dtype=torch.bool)
        with_free = guidance > 0
        text = with_empty(captions) if with_free else captions
        done = 0
        for iteration in range(iterations):
            until = self.tokens - still_masked(iteration, iterations, self.tokens)
            places = order[:, done:until]  # (images, tokens of this iteration)
            conditions = self(
                text, latents.repeat(1 + with_free, 1, 1), known.repeat(1 + with_free, 1)
            )
            given = pick(conditions[:images], places)
            free = pick(conditions[images:], places) if with_free else None
            new = self.diffusion.sample(
                given,
                steps,
                temperature=temperature,
                without=free,
                guidance=guidance_at(iteration + 1, iterations + 1, guidance) if with_free else 0.0,
                draw=partial(draws.normal, until - done, channels),
            )
            latents = latents.scatter(1, places[..., None].expand(-1, -1, channels), new)
            known = known.scatter(1, places, True)
            done = until
            if on_step is not None:
                so_far = (latents * known[..., None]).mT.unflatten(2, (side, side))
                on_step(iteration, to_unit(self.tokenizer.decode(so_far)))
        return to_unit(self.tokenizer.decode(latents.mT.unflatten(2, (side, side))))
