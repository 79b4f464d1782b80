"""Text after an image: captions and answers by the next token."""

import torch
from torch import Tensor

from labsupport.models.hart.attention import Cache
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.sequence import mix
from labsupport.models.vilau.words import END, IGNORE, reading


@torch.no_grad()
def next_word(model: VilaU, images: Tensor, question: str) -> Tensor:
    """Probabilities (images, words) of the answer's first word, of images (images, 3, size, size)
    in [-1, 1] and a question of `words.QUESTIONS`."""
    states, _ = _ask(model, images, question)
    return model.trunk.head(states).softmax(dim=-1)


@torch.no_grad()
def write(model: VilaU, images: Tensor, question: str, length: int = 8) -> tuple[Tensor, Tensor]:
    """The most probable next word, again and again, after images (images, 3, size, size) in [-1, 1]
    and a question: numbers (images, n), <end> and what follows as <end>, and the probability of
    each, (images, n). It ends where all have, or after `length` words."""
    states, cache = _ask(model, images, question)
    words, shares = [], []
    over = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for _ in range(length):
        share, word = model.trunk.head(states).softmax(dim=-1).max(dim=-1)
        word = word.masked_fill(over, END)
        words.append(word)
        shares.append(share)
        over = over | (word == END)
        if over.all():
            break
        states = model.trunk(model.trunk.words(word)[:, None], cache=cache)[:, -1]
    return torch.stack(words, dim=1), torch.stack(shares, dim=1)


def _ask(model: VilaU, images: Tensor, question: str) -> tuple[Tensor, list[Cache]]:
    """The last state, (images, dim), of image and question, and the trunk's cache."""
    asked = reading(question, [])[0][:-1]  # without <end>: the answer is to come
    mixed = mix([(asked, [IGNORE] * len(asked))] * len(images), model.tower.tokens)
    features, _ = model.look(images)
    cache = model.trunk.new_cache()
    return model.states(mixed.to(images.device), features, cache)[:, -1], cache
