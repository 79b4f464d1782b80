"""Text and images in one row of tokens, and what is to be learned at which of them.

VILA-U, section 3.2, and its code. In the row an image is the places of its map, row by row. The
state that leaves a token is for what comes *next*: the one at <image start> is for the image's
first place, the one at the last place for <image end>.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.models.vilau.words import IGNORE, IMAGE, IMAGE_END, IMAGE_START


class Mixed(NamedTuple):
    """Padded rows of tokens, each (batch, tokens).

    words: int64, numbers of words; IMAGE at every place of an image, and 0 where nothing is.
    labels: int64, the word at a token where it is to be learned, IGNORE elsewhere: at all places of
        images, which are no words, and at what was given.
    drawn: bool, places of images whose codes are to be learned.
    real: bool, tokens that are not padding.
    """

    words: Tensor
    labels: Tensor
    drawn: Tensor
    real: Tensor

    def to(self, device: torch.device) -> "Mixed":
        """The same, there."""
        return Mixed(*(part.to(device) for part in self))


def is_drawn(words: Sequence[int], labels: Sequence[int], at: int) -> bool:
    """Whether the image at `at` is to be learned, and not only to be looked at: <image start>,
    before it, is a label too, and nothing but <image end> and <end> comes behind."""
    return labels[at - 1] == IMAGE_START and words[at + 1] == IMAGE_END and at == len(words) - 3


def mix(
    sequences: Sequence[tuple[Sequence[int], Sequence[int]]], places: int, *, left: bool = False
) -> Mixed:
    """Rows of sequences (words, labels), in which every IMAGE becomes the `places` of an image.

    Shorter ones are padded behind, or with `left` in front, as is right where all go on to be
    written. Raises ValueError where words and labels are not equally many, and where an image is
    not between <image start> and <image end>.
    """
    rows = [_expand(words, labels, places) for words, labels in sequences]
    length = max(map(len, rows))
    mixed = Mixed(
        torch.zeros(len(rows), length, dtype=torch.int64),
        torch.full((len(rows), length), IGNORE),
        torch.zeros(len(rows), length, dtype=torch.bool),
        torch.zeros(len(rows), length, dtype=torch.bool),
    )
    for i, row in enumerate(rows):
        own = slice(length - len(row), length) if left else slice(0, len(row))
        for tensor, values in zip(mixed[:3], zip(*row, strict=True), strict=True):
            tensor[i, own] = torch.tensor(values)
        mixed.real[i, own] = True
    return mixed


def _expand(
    words: Sequence[int], labels: Sequence[int], places: int
) -> list[tuple[int, int, bool]]:
    """Word, label and `drawn` of every token of a row."""
    if len(words) != len(labels):
        raise ValueError(f"{len(words)} words and {len(labels)} labels; every word has one")
    row: list[tuple[int, int, bool]] = []
    for at, (word, label) in enumerate(zip(words, labels, strict=True)):
        if word != IMAGE:
            row.append((word, label, False))
            continue
        if at == 0 or at + 1 == len(words) or words[at - 1] != IMAGE_START:
            raise ValueError(f"the image at {at} is not between <image start> and <image end>")
        row.extend([(IMAGE, IGNORE, is_drawn(words, labels, at))] * places)
    return row


def fill(vectors: Tensor, words: Tensor, features: Tensor) -> Tensor:
    """`vectors` (batch, tokens, dim) of words, with `features` (images, places, dim) at the places
    of images, in order: the inputs of the trunk."""
    at = (words == IMAGE)[..., None].expand_as(vectors)
    return vectors.masked_scatter(at, features.to(vectors.dtype))


def states_before(states: Tensor, drawn: Tensor) -> Tensor:
    """Of hidden states (batch, tokens, dim) those that stand one token *before* the places `drawn`
    (batch, tokens): (places, dim), in the order of the images' places."""
    return states[:, :-1][drawn[:, 1:]]
