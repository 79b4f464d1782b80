"""Images from captions by HART: tokenizer, transformer and residual diffusion; its training loss.

HART, sections 3.2 and 3.3. Without its residual diffusion it is VAR with a caption in front.
"""

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.data.transforms import to_unit
from labsupport.models.hart.attention import Attend, attend
from labsupport.models.hart.base import LatentGenerator, drop_captions, pick
from labsupport.models.hart.config import HartConfig
from labsupport.models.hart.positions import block_causal_mask, grid_angles
from labsupport.models.hart.residual import ResidualDiffusion
from labsupport.models.hart.sampling import Draws, choose, guidance_at, guided, with_empty
from labsupport.models.hart.tokenizer import HybridTokenizer, new_tokenizer
from labsupport.models.hart.transformer import Angles, HartTransformer, Mask, Output

RESIDUAL_WEIGHT = 0.1
LATENT_WEIGHT = 1.0  # of a codebook head's own loss
SAMPLED = 0.5  # share of images whose last codes are the model's own while diffusion trains
SAMPLED_TEMPERATURE = 0.7
LEAST_KEPT = 4  # tokens of the last scale, however many are dropped


def keep_some(images: int, tokens: int, generator: torch.Generator | None = None) -> Tensor:
    """(images, n): which tokens of the last scale stay in training, n the same for all images.

    The share that is dropped follows MAR's and HART's law: normal around 1 with deviation 0.25,
    between 0.5 and 1; 0.82 on average.
    """
    dropped = 2.0
    while not 0.5 <= dropped <= 1:
        dropped = 1 + 0.25 * torch.randn((), generator=generator).item()
    n = max(round((1 - dropped) * tokens), min(LEAST_KEPT, tokens))
    order = torch.rand(images, tokens, generator=generator).argsort(dim=1)
    return order[:, :n].sort(dim=1).values


class Hart(LatentGenerator):
    """A tokenizer, which is used as it is, a transformer and a residual diffusion, which learn.

    `config` gives the sizes; a `tokenizer`, where one is given, those of its own part. `residual`
    is None where config.residual_depth is 0: VAR. Of `mask`, `angles` and `attend` see
    `HartTransformer`; `using` puts others in their place.
    """

    def __init__(
        self,
        config: HartConfig,
        tokenizer: HybridTokenizer | None = None,
        *,
        mask: Mask = block_causal_mask,
        angles: Angles = grid_angles,
        attend: Attend = attend,
    ):
        super().__init__(new_tokenizer(config) if tokenizer is None else tokenizer)
        self.config, quantizer = config, self.tokenizer.quantizer
        self.transformer = HartTransformer(
            config.vocabulary,
            config.text_length,
            quantizer.scales,
            quantizer.codebook.weight.detach(),
            config.dim,
            config.depth,
            config.heads,
            config.head,
            mask=mask,
            angles=angles,
            attend=attend,
        )
        self.residual: ResidualDiffusion | None = None
        if config.residual_depth:
            self.residual = ResidualDiffusion(
                self.tokenizer.dim, config.dim, config.residual_width, config.residual_depth
            )

    def using(
        self,
        *,
        mask: Mask = block_causal_mask,
        angles: Angles = grid_angles,
        attend: Attend = attend,
    ) -> "Hart":
        """The same network with these functions, as though it had been built with them. All
        weights are shared, none is copied; this one stays as it is."""
        parts = {
            id(self.tokenizer): self.tokenizer,
            id(self.residual): self.residual,
            id(self.transformer): self.transformer.using(mask, angles, attend),
        }
        return copy.deepcopy(self, parts)  # all but the parts, which are taken as they are

    def learned(self) -> nn.ModuleDict:
        """What training changes: to be saved and loaded without the tokenizer."""
        parts = {"transformer": self.transformer, "residual": self.residual}
        return nn.ModuleDict({name: part for name, part in parts.items() if part is not None})

    @torch.no_grad()
    def measure(self, images: Tensor) -> None:
        """Take the scales of latents and of residuals from images in [-1, 1]: once, before
        training."""
        latent = self.tokenizer.encode(images)
        self.transformer.latent_scale.copy_(latent.std())
        if self.residual is not None:
            self.residual.measure(latent - self.tokenizer.quantizer(latent).discrete)

    def loss(
        self,
        images: Tensor,
        text: Tensor,
        generator: torch.Generator | None = None,
        *,
        drop_last: bool = False,
        repeats: int = 1,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of images (batch, 3, h, w) in [-1, 1] with captions (batch, words), and its
        parts: cross-entropy of the codes "codes" (and of every scale, "codes 1" …), "latents",
        "residual".

        A scale of side p weighs p, so a token 1/p: with equal tokens the last scales would be all
        that counts. `drop_last` leaves most tokens of the last scale out (`keep_some`), and
        `repeats` trains the diffusion at several times for every token.
        """
        with torch.no_grad():
            latent = self.tokenizer.encode(images)
            quantized = self.tokenizer.quantizer(latent)
            inputs = self.tokenizer.quantizer.inputs(quantized.indices)
        scales = self.transformer.scales
        kept = keep_some(len(images), scales[-1] ** 2, generator) if drop_last else None
        out = self.transformer(drop_captions(text, generator), inputs, kept=kept)
        indices, truth = quantized.indices, self.scale_latents(latent)
        first = indices.shape[1] - scales[-1] ** 2  # of the last scale
        if kept is not None:
            indices = torch.cat([indices[:, :first], indices[:, first:].gather(1, kept)], dim=1)
            truth = torch.cat([truth[:, :first], pick(truth[:, first:], kept)], dim=1)
        wrong = F.cross_entropy(out.logits.mT, indices, reduction="none")  # (batch, tokens)
        lengths = [p * p for p in scales[:-1]]
        lengths.append(indices.shape[1] - sum(lengths))
        weight = torch.tensor(scales, dtype=torch.float32) / sum(scales)

        def weighted(values: Tensor) -> tuple[Tensor, Tensor]:
            per_scale = torch.stack([part.mean() for part in values.split(lengths, dim=1)])
            return (weight * per_scale).sum(), per_scale.detach()

        parts: dict[str, Tensor] = {}
        parts["codes"], per_scale = weighted(wrong)
        loss = parts["codes"]
        if out.latents is not None:
            parts["latents"], _ = weighted((out.latents - truth).square().mean(dim=-1))
            loss = loss + LATENT_WEIGHT * parts["latents"]
        if self.residual is not None:
            codes = self._last_codes(out.logits[:, first:], indices[:, first:], generator)
            if kept is not None:  # the codes around those that are kept are the true ones
                codes = quantized.indices[:, first:].scatter(1, kept, codes)
            vectors = self.tokenizer.quantizer.codebook(codes)
            rest = quantized.before_last.flatten(2).mT - vectors  # (batch, last tokens, dim)
            total = latent - rest.mT.view_as(latent)  # what the codes add up to
            condition = self.transformer.condition(out.hidden[:, first:], total, kept)
            if kept is not None:
                rest = pick(rest, kept)
            parts["residual"] = self.residual.loss(
                rest.flatten(0, 1), condition.flatten(0, 1), generator, repeats
            )
            loss = loss + RESIDUAL_WEIGHT * parts["residual"]
        parts |= {f"codes {p}": value for p, value in zip(scales, per_scale, strict=True)}
        return loss, {name: value.detach() for name, value in parts.items()}

    def scale_latents(self, latent: Tensor) -> Tensor:
        """The true latent at the size of every scale, (batch, tokens, dim), as the transformer
        counts it."""
        quantizer = self.tokenizer.quantizer
        maps = [quantizer.next_input(latent, k) for k in range(len(quantizer.scales))]
        return torch.cat(maps, dim=1) / self.transformer.latent_scale

    @staticmethod
    def _last_codes(logits: Tensor, true: Tensor, generator: torch.Generator | None) -> Tensor:
        """For half of the images the codes of the last scale as the model would sample them: what
        they leave out is what diffusion meets when images are generated."""
        own = torch.rand(len(true), 1, generator=generator) < SAMPLED
        chosen = choose(
            logits.detach(), torch.rand(true.shape, generator=generator), SAMPLED_TEMPERATURE
        )
        return torch.where(own, chosen, true)

    @torch.no_grad()
    def generate(
        self,
        captions: Tensor,
        steps: int = 8,
        guidance: float = 1.0,
        seed: int | Sequence[int] = 0,
        on_scale: Callable[[int, Tensor], None] | None = None,
        *,
        residual: bool = True,
        cache: bool = True,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        residual_temperature: float = 1.0,
        residual_guidance: float | None = None,
        tokenizer: HybridTokenizer | None = None,
        interpolate: bool = True,
    ) -> Tensor:
        """Images (batch, 3, h, w) in [0, 1] for captions (batch, words), tokens.

        steps: of the residual diffusion; 0 or residual=False leaves it out.
        guidance: 0 for none; grows over the scales up to this (`sampling.guidance_at`). Diffusion
            has the same as the last scale unless `residual_guidance` says otherwise.
        seed: one number (the images count up from it), or one an image. An image does not depend
            on the others of the batch.
        on_scale(k, images): told after scale number k, from 0, what the images would be by now.
        cache: False computes the whole sequence again for every scale; the images are the same.
        temperature: of the codes; 0 takes the most probable.
        tokenizer: another, of the same codes, for a larger grid; `interpolate` says how positions
            reach it (`HartTransformer.angles`).
        """
        tokenizer = self.tokenizer if tokenizer is None else tokenizer
        quantizer, scales = tokenizer.quantizer, tokenizer.quantizer.scales
        draws, images = Draws(seed, len(captions)), len(captions)
        with_free = guidance > 0
        text = with_empty(captions) if with_free else captions
        memory = self.transformer.new_cache() if cache else None
        inputs = None
        accumulated = torch.zeros(images, *tokenizer.latent_shape)
        for k, p in enumerate(scales):
            out = self.transformer(
                text, inputs, scales=scales, cache=memory, interpolate=interpolate
            )
            logits, t = out.logits[:, -p * p :], guidance_at(k, len(scales), guidance)
            if with_free:
                given, free = logits.chunk(2)
                logits = guided(given, free, t)
            uniform = draws.uniform(p * p) if temperature else None
            codes = choose(logits, uniform, temperature, top_k, top_p)
            accumulated = accumulated + quantizer.contribution(k, codes)
            if k + 1 == len(scales) and residual and steps and self.residual is not None:
                accumulated = accumulated + self.draw_residual(
                    out,
                    accumulated,
                    draws,
                    steps,
                    t if residual_guidance is None else residual_guidance,
                    residual_temperature,
                )
            if on_scale is not None:
                on_scale(k, to_unit(tokenizer.decode(accumulated)))
            if k + 1 < len(scales):
                new = quantizer.next_input(accumulated, k + 1).repeat(1 + with_free, 1, 1)
                inputs = new if inputs is None else torch.cat([inputs, new], dim=1)
        return to_unit(tokenizer.decode(accumulated))

    def draw_residual(
        self,
        out: Output,
        total: Tensor,
        draws: Draws,
        steps: int,
        guidance: float,
        temperature: float,
    ) -> Tensor:
        """Residual tokens as a map in the shape of `total`, what all codes add up to: (batch, dim,
        side, side)."""
        if self.residual is None:
            raise ValueError("this HART has no residual diffusion")
        images, dim, side, _ = total.shape
        hidden, free = out.hidden[:, -side * side :], None
        if guidance and len(hidden) > images:
            free = self.transformer.condition(hidden[images:], total)
        rest = self.residual.sample(
            self.transformer.condition(hidden[:images], total),
            steps,
            temperature=temperature,
            guidance=guidance,
            without=free,
            draw=lambda: draws.normal(side * side, dim),
        )
        return rest.mT.view_as(total)
