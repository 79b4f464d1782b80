"""A diffusion transformer, a rival of HART: the whole continuous latent, step by step.

W. Peebles and S. Xie, "Scalable Diffusion Models with Transformers" (DiT, 2023), section 3.2, with
the blocks of adaLN-Zero. A caption takes the place of a class: its words' vectors, side by side,
through a small MLP, are added to the vector of the time.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.data.transforms import to_unit
from labsupport.models.hart.attention import Attention
from labsupport.models.hart.base import LatentGenerator, drop_captions
from labsupport.models.hart.blocks import initialise
from labsupport.models.hart.diffusion import Diffusion
from labsupport.models.hart.sampling import Draws, guided, with_empty
from labsupport.models.hart.tokenizer import HybridTokenizer
from labsupport.models.hart.transformer import sinusoid


class AdaLNBlock(nn.Module):
    """Attention and MLP whose inputs are moved and scaled, and whose outputs are weighed, by a
    condition (batch, dim)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.attention = Attention(dim, heads)
        self.mlp = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim)
        )
        self.modulation = nn.Linear(dim, 6 * dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(condition))[
            :, None
        ].chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norm(x) * (1 + scale1) + shift1, None)
        return x + gate2 * self.mlp(self.norm(x) * (1 + scale2) + shift2)


def grid_embedding(side: int, dim: int) -> Tensor:
    """(side², dim): sinusoids of row and of column, half of the entries each."""
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    return sinusoid(places, dim // 2).flatten(1)


class DiffusionTransformer(LatentGenerator):
    """Latents of a tokenizer, cut into patches of `patch` x `patch` vectors, denoised together."""

    latent_scale: Tensor
    places: Tensor

    def __init__(
        self,
        tokenizer: HybridTokenizer,
        vocabulary: int,
        text_length: int,
        dim: int = 128,
        depth: int = 6,
        heads: int = 4,
        patch: int = 1,
        clip: float | None = 4.0,
    ):
        super().__init__(tokenizer)
        channels, side, _ = tokenizer.latent_shape
        if side % patch:
            raise ValueError(f"patch={patch} must divide the latent's side, {side}")
        self.patch = patch
        self.register_buffer("latent_scale", torch.ones(()))
        self.diffusion = Diffusion(clip=clip)
        self.text = nn.Embedding(vocabulary, dim)
        self.caption = nn.Sequential(
            nn.Linear(text_length * dim, dim), nn.SiLU(), nn.Linear(dim, dim)
        )
        self.time = nn.Sequential(nn.Linear(256, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.inputs = nn.Linear(channels * patch**2, dim)
        blocks = [AdaLNBlock(dim, heads) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Linear(dim, 2 * dim)
        self.outputs = nn.Linear(dim, channels * patch**2)
        self.register_buffer("places", grid_embedding(side // patch, dim), persistent=False)
        initialise(self, dim, depth)
        for layer in [*(block.modulation for block in blocks), self.modulation, self.outputs]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def measure(self, images: Tensor) -> None:
        """Take the scale of latents from images in [-1, 1]: once, before training."""
        self.latent_scale.copy_(self.tokenizer.encode(images).std())

    def forward(self, noisy: Tensor, time: Tensor, text: Tensor) -> Tensor:
        """noisy (batch, dim, side, side), time (batch,) and text (batch, words) to velocities in
        the shape of `noisy`."""
        x = F.pixel_unshuffle(noisy, self.patch)
        rows = x.shape[2]
        x = self.inputs(x.flatten(2).mT) + self.places  # (batch, tokens, dim)
        condition = self.time(sinusoid(time, 256)) + self.caption(self.text(text).flatten(1))
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.modulation(F.silu(condition))[:, None].chunk(2, dim=-1)
        x = self.outputs(self.norm(x) * (1 + scale) + shift)
        return F.pixel_shuffle(x.mT.unflatten(2, (rows, rows)), self.patch)

    def loss(
        self, images: Tensor, text: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Hart.loss`: the mean squared error of the velocity, at one time for every image."""
        with torch.no_grad():
            latent = self.tokenizer.encode(images) / self.latent_scale
        text = drop_captions(text, generator)
        loss = self.diffusion.loss(lambda x, time: self(x, time, text), latent, generator).mean()
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
        fresh: bool = False,
        temperature: float = 1.0,
    ) -> Tensor:
        """As `Hart.generate`; `steps` are passes of the transformer, with the same guidance at
        each. fresh=False is DDIM's sampler, True DDPM's."""
        draws = Draws(seed, len(captions))
        text = with_empty(captions) if guidance > 0 else captions

        def network(x: Tensor, time: Tensor) -> Tensor:
            if guidance <= 0:
                return self(x, time, text)
            given, free = self(x.repeat(2, 1, 1, 1), time.repeat(2), text).chunk(2)
            return guided(given, free, guidance)

        def shown(step: int, latent: Tensor) -> None:
            if on_step is not None:
                on_step(step, to_unit(self.tokenizer.decode(latent * self.latent_scale)))

        latent = self.diffusion.sample(
            network,
            lambda: draws.normal(*self.tokenizer.latent_shape),
            steps,
            temperature,
            shown,
            fresh,
        )
        return to_unit(self.tokenizer.decode(latent * self.latent_scale))
