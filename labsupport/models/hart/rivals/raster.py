"""Raster order, a rival of HART: an image's codes one at a time, row by row.

P. Sun et al., "LlamaGen" (2024): Llama's blocks, the caption in front, next-token prediction.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.data.transforms import to_unit
from labsupport.models.hart.attention import Cache
from labsupport.models.hart.base import LatentGenerator, drop_captions
from labsupport.models.hart.blocks import Block, initialise, swiglu_width, through
from labsupport.models.hart.generator import LATENT_WEIGHT
from labsupport.models.hart.heads import HEADS, Prediction
from labsupport.models.hart.positions import block_causal_mask, grid_angles, text_angles
from labsupport.models.hart.sampling import Draws, choose, guided, with_empty
from labsupport.models.hart.tokenizer import HybridTokenizer


class RasterAR(LatentGenerator):
    """`tokenizer` has a single scale. The token at a place predicts its code, from the code before
    it and all that is behind; the first from a learned vector."""

    angles: Tensor
    latent_scale: Tensor

    def __init__(
        self,
        tokenizer: HybridTokenizer,
        vocabulary: int,
        text_length: int,
        dim: int = 128,
        depth: int = 6,
        heads: int = 4,
        head: str = "codebook",
    ):
        if len(tokenizer.quantizer.scales) != 1:
            raise ValueError(
                f"a tokenizer of scales {tokenizer.quantizer.scales}; raster order "
                "needs one of a single scale"
            )
        super().__init__(tokenizer)
        self.text_length, self.tokens = text_length, tokenizer.quantizer.side**2
        codebook = tokenizer.quantizer.codebook.weight
        self.register_buffer("latent_scale", torch.ones(()))
        self.text = nn.Embedding(vocabulary, dim)
        self.word = nn.Linear(codebook.shape[1], dim)
        self.start = nn.Parameter(torch.zeros(dim))
        self.blocks = nn.ModuleList(Block(dim, heads, swiglu_width(dim, 32)) for _ in range(depth))
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        initialise(self, dim, depth)
        nn.init.normal_(self.start, std=math.sqrt(1 / dim / 3))
        self.head = HEADS[head](dim, codebook, 1)
        side = tokenizer.quantizer.side
        angles = torch.cat(
            [
                text_angles(text_length, dim // heads),
                grid_angles([side], dim // heads, side, text_length),
            ]
        )
        self.register_buffer("angles", angles, persistent=False)

    @torch.no_grad()
    def measure(self, images: Tensor) -> None:
        """Take the scale of latents from images in [-1, 1]: once, before training."""
        self.latent_scale.copy_(self.tokenizer.encode(images).std())

    def forward(self, text: Tensor, codes: Tensor, cache: list[Cache] | None = None) -> Prediction:
        """text (batch, words) and the first n codes (batch, n): logits (batch, n + 1, codes), of
        those and the next; at most as many as there are places. With a cache, only of tokens that
        are not held there."""
        before = codes[:, : self.tokens - 1]
        vectors = self.word(self.tokenizer.quantizer.codebook(before) / self.latent_scale)
        x = torch.cat([self.text(text), self.start.expand(len(text), 1, -1), vectors], dim=1)
        held = cache[0].length if cache is not None else 0
        lengths = [self.text_length, *[1] * (before.shape[1] + 1)]
        mask = block_causal_mask(lengths).to(x.device)
        seen = None if mask[held:].all() else mask
        angles, x = self.angles[: x.shape[1]], x[:, held:]
        x = through(self.blocks, x, angles, seen, cache)
        x = self.norm(x[:, max(self.text_length - held, 0) :])
        number = torch.zeros(x.shape[1], dtype=torch.int64, device=x.device)
        return self.head(x, x.new_zeros(()), number, self.latent_scale)

    def loss(
        self, images: Tensor, text: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Hart.loss`: cross-entropy of the codes, and the head's own loss."""
        with torch.no_grad():
            latent = self.tokenizer.encode(images)
            codes = self.tokenizer.quantizer(latent).indices
        out = self(drop_captions(text, generator), codes)
        parts = {"codes": F.cross_entropy(out.logits.mT, codes)}
        loss = parts["codes"]
        if out.latents is not None:
            truth = latent.flatten(2).mT / self.latent_scale
            parts["latents"] = F.mse_loss(out.latents, truth)
            loss = loss + LATENT_WEIGHT * parts["latents"]
        return loss, {name: value.detach() for name, value in parts.items()}

    @torch.no_grad()
    def generate(
        self,
        captions: Tensor,
        steps: int | None = None,
        guidance: float = 1.0,
        seed: int | Sequence[int] = 0,
        on_step: Callable[[int, Tensor], None] | None = None,
        *,
        cache: bool = True,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Tensor:
        """As `Hart.generate`. There are as many steps as tokens, and `steps` is ignored."""
        quantizer = self.tokenizer.quantizer
        draws = Draws(seed, len(captions))
        text = with_empty(captions) if guidance > 0 else captions
        memory = [Cache() for _ in self.blocks] if cache else None
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for step in range(self.tokens):
            seen = codes.repeat(2, 1) if guidance > 0 else codes
            logits = self(text, seen, memory).logits[:, -1]
            if guidance > 0:
                given, free = logits.chunk(2)
                logits = guided(given, free, guidance)
            uniform = draws.uniform() if temperature else None
            chosen = choose(logits, uniform, temperature, top_k, top_p)
            codes = torch.cat([codes, chosen[:, None]], dim=1)
            if on_step is not None:
                rest = codes.new_zeros(len(codes), self.tokens - step - 1)
                so_far = quantizer.accumulate(torch.cat([codes, rest], dim=1))
                so_far.flatten(2)[..., step + 1 :] = 0
                on_step(step, to_unit(self.tokenizer.decode(so_far)))
        return to_unit(self.tokenizer.decode(quantizer.accumulate(codes)))
