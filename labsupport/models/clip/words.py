"""Captions as numbers: a fixed vocabulary of whole words, for the captions of `labsupport.data`.

CLIP itself cuts words into 49,408 pieces (byte pair encoding) and pads to 77; the captions that
this course renders have some sixty words, so a word is a token here.
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from labsupport.data.concepts import CONCEPTS

# The order is fixed: shipped weights depend on it. New words go to the end of FRAME.
FRAME = (
    "a", "an", "and", ",", "left", "right", "of", "above", "below", "the", "photo", "picture",
    "drawing", "small", "large", "one", "this", "is", "with", "on", "in", "some", "here", "there",
    "two", "next", "to", "background", "see", "shows", "it", "emoji",
)  # fmt: skip
PADDING = "<pad>"
VOCABULARY = (PADDING, *FRAME, *CONCEPTS, "<start>", "<end>")
INDEX = {word: number for number, word in enumerate(VOCABULARY)}
START, END = INDEX["<start>"], INDEX["<end>"]  # END is the largest number, as in CLIP
CONTEXT = 20  # tokens of a caption, <start> and <end> included: a scene of four objects fits


def words_of(caption: str) -> list[str]:
    """The words of a caption, in small letters; a comma is a word, other marks are dropped."""
    return re.findall(r"[a-z]+|,", caption.lower())


def tokenize(captions: str | Sequence[str], context: int = CONTEXT) -> Tensor:
    """Captions as int64 (n, context): <start>, the words, <end>, then padding with 0.

    Raises ValueError for a word that the vocabulary does not have, and for a caption too long.
    """
    captions = [captions] if isinstance(captions, str) else list(captions)
    tokens = torch.zeros(len(captions), context, dtype=torch.int64)
    for row, caption in zip(tokens, captions, strict=True):
        words = words_of(caption)
        unknown = [word for word in words if word not in INDEX]
        if unknown:
            raise ValueError(
                f"{caption!r}: the word {unknown[0]!r} is not in the vocabulary; it knows the "
                f"{len(CONCEPTS)} names of labsupport.data.CONCEPTS and {', '.join(FRAME)}"
            )
        if len(words) + 2 > context:
            raise ValueError(f"{caption!r} has {len(words)} words; at most {context - 2} fit")
        numbers = [START, *(INDEX[word] for word in words), END]
        row[: len(numbers)] = torch.tensor(numbers)
    return tokens
