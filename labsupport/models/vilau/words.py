"""Captions, questions and answers about stickers as numbers: a word is a token.

The words of a caption have the numbers of `labsupport.data.stickers.tokenize`. VILA-U reads and
writes Llama's 32,000 pieces of words instead.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from labsupport.data.stickers import TEXT_LENGTH, WORDS
from labsupport.data.stickers import VOCABULARY as STICKER_WORDS

# What can be asked of an image, by what the answer names; and what asks for the whole caption
QUESTIONS = {
    "place": "where is it",
    "tint": "what colour is it",
    "thing": "what is it",
    "ground": "what colour is the ground",
}
DESCRIBE = "describe it"
FRAME = tuple(dict.fromkeys(" ".join([*QUESTIONS.values(), DESCRIBE]).split()))
# The order is fixed: shipped weights depend on it
SPECIAL = ("<start>", "<end>", "<image start>", "<image end>")
VOCABULARY = (*STICKER_WORDS, *FRAME, *SPECIAL)
INDEX = {word: number for number, word in enumerate(VOCABULARY)}
START, END, IMAGE_START, IMAGE_END = (INDEX[word] for word in SPECIAL)
IMAGE = -200  # stands for a whole image; it has no number in the vocabulary (LLaVA's and VILA's)
IGNORE = -100  # as a label: nothing is learned here


def numbers(sentence: str) -> list[int]:
    """A question as numbers. Raises ValueError for a word that no question has."""
    words = sentence.lower().replace("?", " ").split()
    for word in words:
        if word not in FRAME:
            asked = "; ".join([*QUESTIONS.values(), DESCRIBE])
            raise ValueError(f"{sentence!r}: no question has the word {word!r}; ask {asked}")
    return [INDEX[word] for word in words]


def text_of(tokens: Sequence[int] | Tensor) -> str:
    """Numbers as a sentence, up to <end>; "plain" and what is empty are not said."""
    words = []
    for number in torch.as_tensor(tokens).tolist():
        if number == END:
            break
        words.append(VOCABULARY[number])
    return " ".join(word for word in words if word not in ("", "plain"))


def reading(question: str, answer: Sequence[int]) -> tuple[list[int], list[int]]:
    """An image, a question, and the answer's numbers: the sequence and its labels. Labels are
    the answer and <end>; what was given, question and image, is not learned."""
    asked = [START, IMAGE_START, IMAGE, IMAGE_END, *numbers(question)]
    answered = [*answer, END]
    return asked + answered, [IGNORE] * len(asked) + answered


def drawing(caption: Sequence[int]) -> tuple[list[int], list[int]]:
    """A caption's numbers (none for no caption) and its image: the sequence and its labels, which
    are the image, and the words around it, that begin and end it."""
    asked = [START, *caption]
    drawn = [IMAGE_START, IMAGE, IMAGE_END, END]
    return asked + drawn, [IGNORE] * len(asked) + drawn


def answers(text: Tensor, question: str) -> Tensor:
    """What is right to answer to a question of `QUESTIONS`, or `DESCRIBE`, about images of the
    captions `text` (batch, words): (batch, words of the answer)."""
    if question == DESCRIBE:
        return text
    kinds = [kind for kind, asked in QUESTIONS.items() if asked == question]
    if not kinds or text.shape[1] != TEXT_LENGTH:
        asked = "; ".join([*QUESTIONS.values(), DESCRIBE])
        raise ValueError(f"{question!r} is no question about captions of {text.shape[1]}: {asked}")
    column = WORDS.index(kinds[0])
    return text[:, column : column + 1]
