"""A painter for lab 09: a trained HART that draws with a student's functions.

The names that `Painter` calls are those of the exercises in solutions/09_hart_generation.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from labsupport.data.transforms import to_unit
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.sampling import Draws, choose, with_empty
from labsupport.models.hart.tokenizer import HybridTokenizer
from labsupport.models.hart.transformer import Output


class Painter:
    """What the lab's `generate` asks, answered by a trained HART with a student's functions.

    guide(given, free, k, scales, guidance), keep_likely(logits, top_k, top_p) and
    denoise(network, draw, left, steps) are the student's. One painter draws one batch at a time;
    an image depends on its seed and caption alone.
    """

    def __init__(
        self,
        hart: Hart,
        guide: Callable,
        keep_likely: Callable,
        denoise: Callable,
        *,
        seed: int | Sequence[int] = 0,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ):
        self.hart, self.scales = hart, hart.transformer.scales
        self.guide, self.keep_likely, self.denoise = guide, keep_likely, denoise
        self.seed, self.temperature, self.top_k, self.top_p = seed, temperature, top_k, top_p
        self.quantizer = hart.tokenizer.quantizer

    @torch.no_grad()
    def begin(self, text: Tensor) -> None:
        """A new batch of captions (batch, words): an empty cache, fresh random numbers."""
        self.draws = Draws(self.seed, len(text))
        self.text = with_empty(text)
        self.cache = self.hart.transformer.new_cache()
        self.inputs: Tensor | None = None

    @torch.no_grad()
    def predict(self, new: Tensor | None = None) -> Output:
        """The transformer's output for the next scale, given that scale's inputs (batch, tokens,
        dim); without inputs for the first. Rows are the batch, then the batch without captions."""
        if new is not None:
            twice = new.repeat(2, 1, 1)
            self.inputs = twice if self.inputs is None else torch.cat([self.inputs, twice], dim=1)
        return self.hart.transformer(self.text, self.inputs, cache=self.cache)

    @torch.no_grad()
    def choose(self, out: Output, k: int, guidance: float) -> Tensor:
        """Codes (batch, tokens) of scale number k."""
        tokens = self.scales[k] ** 2
        given, free = out.logits[:, -tokens:].chunk(2)
        logits = self.guide(given, free, k, len(self.scales), guidance)
        if not self.temperature:
            return logits.argmax(dim=-1)
        logits = self.keep_likely(
            logits / self.temperature, self.top_k or logits.shape[-1], self.top_p
        )
        return choose(logits, self.draws.uniform(tokens), 1.0)

    def vectors(self, codes: Tensor) -> Tensor:
        """The codes' vectors, (batch, tokens, dim)."""
        return self.quantizer.codebook(codes)

    @torch.no_grad()
    def residual(self, out: Output, codes: Tensor, steps: int, guidance: float) -> Tensor:
        """Continuous tokens that belong to the codes of the last scale, (batch, tokens, dim)."""
        (images, tokens), dim = codes.shape, self.hart.residual.dim
        net, hidden = self.hart.residual.net, out.hidden[:, -tokens:]
        # the last scale's inputs are the sum of the scales before it
        total = self.as_map(self.inputs[:images, -tokens:] + self.vectors(codes))
        condition = self.hart.transformer.condition(hidden, total.repeat(2, 1, 1, 1))
        told = net.told(condition.flatten(0, 1))

        def network(x: Tensor, time: Tensor) -> Tensor:
            twice = x.float().repeat(2, 1)
            answers = net.step(twice, net.at(time[:1]), told)  # all at the same time
            return self.guide(*answers.chunk(2), 1, 2, guidance)  # as at the last scale

        x = self.denoise(
            network,
            lambda: self.draws.normal(tokens, dim).flatten(0, 1),
            self.hart.residual.diffusion.signal.float(),
            steps,
        )
        return (x.float() * self.hart.residual.scale).view(images, tokens, dim)

    @torch.no_grad()
    def spread(self, k: int, vectors: Tensor) -> Tensor:
        """Vectors of scale number k as a map of full size, smoothed."""
        return self.quantizer.spread(k, vectors)

    def as_map(self, vectors: Tensor) -> Tensor:
        """Vectors (batch, side², dim) of the last scale as a map (batch, dim, side, side)."""
        return vectors.mT.unflatten(2, (self.scales[-1], self.scales[-1]))

    def shrink(self, total: Tensor, k: int) -> Tensor:
        """A map of full size averaged down to scale number k, (batch, tokens, dim)."""
        return self.quantizer.next_input(total, k)

    @torch.no_grad()
    def decode(self, total: Tensor) -> Tensor:
        """Images (batch, 3, size, size) in [0, 1] of a map."""
        return to_unit(self.hart.tokenizer.decode(total))


def larger_tokenizer(tokenizer: HybridTokenizer, scales: Sequence[int]) -> HybridTokenizer:
    """The same codes, encoder and decoder for a larger latent of scales `scales`; the convolution
    behind a scale is that of the nearest number, the last one has none."""
    pixels = tokenizer.size // tokenizer.quantizer.side
    large = copy.deepcopy(tokenizer)
    large.size = pixels * scales[-1]
    known = [phi for phi in tokenizer.quantizer.phi][:-1]
    large.quantizer.scales = tuple(scales)
    large.quantizer.phi = nn.ModuleList(
        [copy.deepcopy(known[min(k, len(known) - 1)]) for k in range(len(scales) - 1)]
        + [nn.Identity()]
    )
    return large.eval()
