"""Transformer of HART: a caption in front, then the codes of one scale after another.

HART, section 3.2: text and visual tokens in one sequence, positions that interpolate, Llama's
blocks without AdaLN; teacher forcing as in VAR, section 3.2.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from labsupport.models.hart.attention import Attend, Cache, attend
from labsupport.models.hart.blocks import Block, initialise, swiglu_width, through
from labsupport.models.hart.heads import HEADS, CodebookHead
from labsupport.models.hart.positions import block_causal_mask, block_of, grid_angles, text_angles

# What `block_causal_mask` and `grid_angles` are, and a student's own: mask(lengths) and
# angles(scales, head_dim, side, offset)
Mask = Callable[[list[int]], Tensor]
Angles = Callable[[list[int], int, int, int], Tensor]


def sinusoid(values: Tensor, dim: int, base: float = 10_000.0) -> Tensor:
    """(..., dim): cosines, then sines, of the values times falling frequencies (DDPM's, after
    A. Vaswani et al., 2017). Values may be fractions."""
    rates = torch.exp(-math.log(base) * torch.arange(dim // 2, device=values.device) / (dim // 2))
    angles = values[..., None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class Output(NamedTuple):
    """Of the visual tokens: logits (batch, tokens, codes), hidden states before the last norm
    (batch, tokens, dim), and the latents that a codebook head expects, divided by `latent_scale`,
    (batch, tokens, latent dim)."""

    logits: Tensor
    hidden: Tensor
    latents: Tensor | None


class HartTransformer(nn.Module):
    """Captions and what is known of an image, to logits for the codes of every scale.

    Scale number k is predicted in one pass, all its tokens at once, from what the scales before
    it add up to (`MultiScaleQuantizer.next_input`); the first from a learned vector. The buffer
    `latent_scale` is the deviation of the tokenizer's latents, by which all latents are divided.
    `codebook` (codes, latent dim) is copied; `head` is "codebook" or "linear", see `heads`.

    Who may look at whom, where visual tokens lie, and attention itself come from the functions
    `mask`, `angles` and `attend`: a pass calls the first two once, the third once a block.
    """

    latent_scale: Tensor

    def __init__(
        self,
        vocabulary: int,
        text_length: int,
        scales: Sequence[int],
        codebook: Tensor,
        dim: int = 128,
        depth: int = 6,
        heads: int = 4,
        head: str = "codebook",
        *,
        mask: Mask = block_causal_mask,
        angles: Angles = grid_angles,
        attend: Attend = attend,
    ):
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"head={head!r}; choose from {', '.join(HEADS)}")
        self.scales, self.text_length = tuple(scales), text_length
        self.dim, self.head_dim = dim, dim // heads
        self.mask, self.angles = mask, angles
        self.register_buffer("latent_scale", torch.ones(()))  # inside, latents have unit variance
        self.text = nn.Embedding(vocabulary, dim)
        self.word = nn.Linear(codebook.shape[1], dim)
        self.around = nn.Conv2d(codebook.shape[1], dim, 3, padding=1)
        self.start = nn.Parameter(torch.zeros(dim))
        self.number = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads, swiglu_width(dim, 32), attend) for _ in range(depth)
        )
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.condition_norm = nn.RMSNorm(dim, eps=1e-6)
        initialise(self, dim, depth)
        self.head = HEADS[head](dim, codebook, len(self.scales))
        nn.init.normal_(self.start, std=math.sqrt(1 / dim / 3))
        if isinstance(self.head, CodebookHead):
            nn.init.zeros_(self.head.free.weight)

    def using(self, mask: Mask, angles: Angles, attend: Attend) -> "HartTransformer":
        """One of the same weights, not copied, and other functions; this one stays as it is."""
        weights = [*self.parameters(), *self.buffers()]
        other = copy.deepcopy(self, {id(weight): weight for weight in weights})
        other.mask, other.angles = mask, angles
        for block in other.blocks:
            cast(Block, block).attention.attend = attend
        return other

    def new_cache(self) -> list[Cache]:
        """An empty cache for every block."""
        return [Cache() for _ in self.blocks]

    def positions(self, scales: Sequence[int], interpolate: bool = True) -> Tensor:
        """Angles of text and visual tokens, (tokens, head_dim / 2). On another grid than in
        training, positions are interpolated, or continued beyond those known."""
        side = self.scales[-1] if interpolate else scales[-1]
        text = text_angles(self.text_length, self.head_dim)
        visual = self.angles(list(scales), self.head_dim, side, self.text_length)
        return torch.cat([text, visual]).to(self.start.device)

    def forward(
        self,
        text: Tensor,
        inputs: Tensor | None = None,
        *,
        scales: Sequence[int] | None = None,
        kept: Tensor | None = None,
        cache: list[Cache] | None = None,
        interpolate: bool = True,
    ) -> Output:
        """text (batch, words), inputs (batch, tokens of scales 2 to m, latent dim): logits for
        the scales 1 to m. Without inputs, m is 1.

        `cache`: only tokens that are not held there pass through the blocks, and the output is
        theirs alone. `kept` (batch, n): of the last scale, only these tokens are in the sequence
        (HART, section 3.3); needs inputs of all scales. `scales` are another grid's.
        """
        scales = self.scales if scales is None else tuple(scales)
        shown = self._shown(text, inputs, scales)  # (batch, visual tokens, latent dim)
        shown = shown / self.latent_scale
        lengths = self._lengths(shown.shape[1], scales)
        number = block_of(lengths).to(shown.device)
        angles = self.positions(scales, interpolate)[: self.text_length + len(number)]
        if kept is not None:
            if len(lengths) != len(scales) or cache is not None:
                raise ValueError("kept needs the inputs of all scales, and no cache")
            places = self._places(kept, lengths)  # (batch, visual tokens kept)
            shown = shown.gather(1, places[..., None].expand(-1, -1, shown.shape[2]))
            number = number[places[0]]
            lengths = [*lengths[:-1], kept.shape[1]]
            angles = torch.cat(
                [
                    angles[: self.text_length].expand(len(text), -1, -1),
                    angles[self.text_length + places],
                ],
                dim=1,
            )
        level = self.number(sinusoid(torch.arange(len(lengths), device=text.device), self.dim))
        visual = (
            torch.cat(
                [self.start.expand(len(text), lengths[0], -1), self.word(shown[:, lengths[0] :])],
                dim=1,
            )
            + level[number]
        )
        x = torch.cat([self.text(text), visual], dim=1)
        held = cache[0].length if cache is not None else 0
        x = x[:, held:]
        mask = self.mask([self.text_length, *lengths]).to(x.device)
        x = through(self.blocks, x, angles, mask, cache)
        skip = max(self.text_length - held, 0)
        hidden = x[:, skip:]  # visual tokens only
        first = held + skip - self.text_length
        logits, latents = self.head(
            self.norm(hidden), shown[:, first:], number[first:], self.latent_scale
        )
        return Output(logits, hidden, latents)

    def condition(self, hidden: Tensor, total: Tensor, kept: Tensor | None = None) -> Tensor:
        """What the residual diffusion is told of the tokens of the last scale: their last hidden
        states (batch, tokens, dim) and the map `total` that all codes add up to, (batch, latent
        dim, side, side), to (batch, tokens, dim). With `kept`, hidden states are of these tokens
        alone.

        HART, section 3.3, adds the token's own code to its hidden state. Here a 3 x 3 convolution
        sees what is around it too: residuals are drawn one by one, and neighbours should agree.
        """
        around = self.around(total / self.latent_scale).flatten(2).mT  # (batch, side², dim)
        if kept is not None:
            around = around.gather(1, kept[..., None].expand(-1, -1, self.dim))
        return self.condition_norm(hidden + around)

    def _shown(self, text: Tensor, inputs: Tensor | None, scales: tuple[int, ...]) -> Tensor:
        if text.shape[1] != self.text_length:
            raise ValueError(
                f"text of {text.shape[1]} words; the transformer reads {self.text_length}"
            )
        nothing = self.word.weight.new_zeros(len(text), scales[0] ** 2, self.word.in_features)
        return nothing if inputs is None else torch.cat([nothing, inputs], dim=1)

    def _lengths(self, tokens: int, scales: tuple[int, ...]) -> list[int]:
        lengths: list[int] = []
        for scale in scales:
            if sum(lengths) < tokens:
                lengths.append(scale**2)
        if sum(lengths) != tokens:
            raise ValueError(f"{tokens} visual tokens do not fill scales of {scales}")
        return lengths

    def _places(self, kept: Tensor, lengths: list[int]) -> Tensor:
        before = sum(lengths[:-1])
        early = torch.arange(before, device=kept.device).expand(len(kept), -1)
        return torch.cat([early, before + kept], dim=1)
