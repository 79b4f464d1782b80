"""A trained VILA-U that learns, writes and draws with a student's functions.

The names of what `Lesson`, `Reader` and `Painter` are given are those of the exercises in
solutions/10_vila_u.py. What is written or drawn with right ones is what the package writes and
draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.data.transforms import to_unit
from labsupport.models.hart.attention import Cache
from labsupport.models.hart.sampling import Draws, choose
from labsupport.models.vilau.attention import padded_mask
from labsupport.models.vilau.words import IGNORE, IMAGE, IMAGE_END, IMAGE_START, START

if TYPE_CHECKING:  # hidden while the lab is graded
    from labsupport.models.vilau.model import VilaU

Row = tuple[Sequence[int], Sequence[int]]  # words and labels, an IMAGE for a whole image


def logits_of_codes(model: VilaU, inputs: Tensor, sums: Tensor) -> Tensor:
    """Logits (places, d, codes) of the depth transformer of `model` for inputs (places, d, dim).
    `sums` (places, d, code dim), of the codes before, are what a codebook head is shown."""
    net = model.depth
    for block in net.blocks:
        inputs = block(inputs)
    number = torch.arange(inputs.shape[1])
    return net.head(net.norm(inputs), sums, number, inputs.new_ones(())).logits


def sums_before(codebook: Tensor, codes: Tensor) -> Tensor:
    """What the codes *before* each of codes (places, D) add up to, (places, D, code dim)."""
    return F.pad(codebook[codes[:, :-1]].cumsum(dim=1), (0, 0, 1, 0))


class Predicted(NamedTuple):
    """Logits of the next word at every token (batch, tokens, words), and the labels (batch,
    tokens); logits of the codes of the places to be drawn (places, D, codes), and the codes."""

    word_logits: Tensor
    labels: Tensor
    code_logits: Tensor
    codes: Tensor


class Lesson:
    """What a model predicts of rows, by a student's `mix_row`, `states_before`, `depth_inputs`."""

    def __init__(
        self, model: VilaU, mix_row: Callable, states_before: Callable, depth_inputs: Callable
    ):
        self.model, self.mix_row = model, mix_row
        self.states_before, self.depth_inputs = states_before, depth_inputs

    def __call__(self, rows: Sequence[Row], features: Tensor, codes: Tensor) -> Predicted:
        """rows: words and labels, with one image each. features: (rows, places, code dim), the
        quantized images; codes: (rows, places, D), theirs."""
        model, places = self.model, codes.shape[1]
        mixed = [[torch.as_tensor(p) for p in self.mix_row(*row, places)] for row in rows]
        # shorter rows are padded behind: a causal model never sees it, and nothing is learned there
        words, labels, drawn = (
            torch.nn.utils.rnn.pad_sequence(list(part), batch_first=True, padding_value=empty)
            for part, empty in zip(zip(*mixed, strict=True), (0, IGNORE, False), strict=True)
        )
        states = model.trunk(model.inputs(words, features))
        asked = codes.flatten(0, 1)[drawn[words == IMAGE].bool()]
        net, codebook = model.depth, model.tower.quantizer.codebook.vectors
        inputs = self.depth_inputs(
            self.states_before(states, drawn.bool()),
            asked,
            codebook,
            net.from_hidden,
            net.from_codes,
            net.positions,
        )
        sums = sums_before(codebook, asked)
        return Predicted(
            model.trunk.head(states), labels, logits_of_codes(model, inputs, sums), asked
        )


class Reader:
    """What follows images in the row: logits of the next word, for a student's `write`.

    One reader has one batch of images (batch, 3, size, size) in [-1, 1]. The images go through the
    trunk once; words are passed on from where they go on.
    """

    @torch.no_grad()
    def __init__(self, model: VilaU, images: Tensor):
        self.model = model
        row = [START, IMAGE_START, *[IMAGE] * model.tower.tokens, IMAGE_END]
        words = torch.tensor(row).expand(len(images), -1)
        self.images = model.trunk.new_cache()
        model.trunk(model.inputs(words, model.tower.tokenize(images).discrete), cache=self.images)
        self.start()

    def start(self) -> None:
        """Forget the words."""
        self.cache = [Cache(cache) for cache in self.images]
        self.seen = torch.zeros(self.images[0]["keys"].shape[0], 0, dtype=torch.int64)

    @torch.no_grad()
    def __call__(self, words: Tensor) -> Tensor:
        """Logits (batch, words of the vocabulary) of what follows `words` (batch, n), n > 0: all
        that stands behind the images."""
        held = self.seen.shape[1]
        if words.shape[1] <= held or not torch.equal(words[:, :held], self.seen):
            self.start()
            held = 0
        self.seen = words
        new = self.model.trunk.words(words[:, held:])
        return self.model.trunk.head(self.model.trunk(new, cache=self.cache)[:, -1])

    def ask(self, question: Sequence[int]) -> Tensor:
        """Logits (batch, words) of the first word of the answer to a question's numbers."""
        return self(torch.tensor(list(question)).expand(len(self.seen), -1))


class Painter:
    """What the lab's `paint_codes` asks, answered by a trained model with a student's
    `depth_inputs`.

    One painter draws one batch at a time; an image depends on its seed and caption alone.
    temperature 0 takes the likeliest code; otherwise codes are drawn by lot among the `top_k`
    likeliest (0: all), and of these the fewest that have the share `top_p`, the published one.
    """

    def __init__(
        self,
        model: VilaU,
        depth_inputs: Callable,
        *,
        seed: int | Sequence[int] = 0,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.96,
    ):
        self.model, self.depth_inputs, self.seed = model, depth_inputs, seed
        self.options = temperature, top_k, top_p
        self.places, self.depth = model.tower.tokens, model.depth.steps
        self.codebook = model.tower.quantizer.codebook.vectors

    @torch.no_grad()
    def begin(self, captions: Tensor) -> Tensor:
        """The inputs that a new batch begins with, (2 · batch, tokens, dim): rows of captions
        (batch, words) first, then as many rows without one."""
        batch, words = captions.shape
        self.draws, self.lots = Draws(self.seed, batch), torch.zeros(batch, 0)
        start, image = (torch.full((batch, 1), word) for word in (START, IMAGE_START))
        given = torch.cat([start, captions, image], dim=1)
        free = torch.cat([torch.zeros_like(captions), start, image], dim=1)  # padded in front
        self.real = torch.ones(2 * batch, words + 2, dtype=torch.bool)
        self.real[batch:, :words] = False
        self.cache, self.passes = self.model.trunk.new_cache(), 0
        return self.model.trunk.words(torch.cat([given, free]))

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """The trunk's last state, (2 · batch, dim), when the tokens x (2 · batch, new, dim) are put
        behind those before."""
        if self.passes:
            self.real = F.pad(self.real, (0, x.shape[1]), value=True)
        self.passes += 1
        mask = padded_mask(self.real)[:, -x.shape[1] :]
        return self.model.trunk(x, mask, self.cache)[:, -1]

    @torch.no_grad()
    def logits(self, states: Tensor, codes: Tensor) -> Tensor:
        """Logits (rows, codes) of a place's next code, from states (rows, dim) and the codes (rows,
        d) that it has by now, d from 0."""
        net, d = self.model.depth, codes.shape[1] + 1
        codes = F.pad(codes, (0, 1))  # a code that is not there yet: the last is never looked at
        x = self.depth_inputs(
            states, codes, self.codebook, net.from_hidden, net.from_codes, net.positions[:d]
        )
        return logits_of_codes(self.model, x, sums_before(self.codebook, codes))[:, -1]

    @torch.no_grad()
    def choose(self, logits: Tensor) -> Tensor:
        """One code (batch,) for each row of logits (batch, codes)."""
        temperature, top_k, top_p = self.options
        if not temperature:
            return logits.argmax(dim=-1)
        if not self.lots.shape[1]:
            self.lots = self.draws.uniform(self.depth)
        lot, self.lots = self.lots[:, 0], self.lots[:, 1:]
        return choose(logits, lot, temperature, top_k, top_p)

    def vectors(self, codes: Tensor) -> Tensor:
        """The codes' vectors, (…) to (…, code dim)."""
        return self.codebook[codes]

    @torch.no_grad()
    def project(self, sums: Tensor) -> Tensor:
        """What the trunk is shown of a place, (batch, dim), of the sum of its codes' vectors."""
        return self.model.projector(sums)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Images (batch, 3, size, size) in [0, 1] of codes (batch, places, d), d of them from 1."""
        return to_unit(self.model.tower.decode(self.vectors(codes).sum(dim=2)))
