"""What lab 08 uses around its exercises."""

import torch
from torch import nn

from labsupport.data.transforms import normalize
from labsupport.labs.lab08 import tokenizers as tokens


class Counting(nn.Module):
    """A stand-in for a tokenizer: knows a codebook and what it left over."""

    def __init__(self):
        super().__init__()
        self.quantizer = nn.Module()
        self.quantizer.codebook = nn.Embedding(4, 2)

    def leftovers(self, images):
        return torch.zeros(len(images), 5, dtype=torch.int64), torch.arange(12.0).view(6, 2)


def test_training_steps_and_revives_while_it_should():
    revived, seen = [], []
    net = Counting()

    def step(tokenizer, optimizer, images, share):
        assert tokenizer.training and optimizer.param_groups[0]["lr"] > 0
        seen.append((images.shape, share, images.min().item() >= -1, images.max().item() <= 1))
        return 1.0

    history = tokens.train(
        net,
        step,
        lambda *given: revived.append(given),
        size=16,
        steps=80,
        batch_size=2,
        share=0.25,
        progress=False,
    )
    assert seen == [(torch.Size([2, 3, 16, 16]), 0.25, True, True)] * 80
    assert history.loss == [1.0] * 80 and not net.training
    assert len(revived) == 3  # after 20, 40 and 60 steps; 80 is past three quarters
    codebook, indices, vectors = revived[0]
    assert codebook is net.quantizer.codebook.weight and indices.shape == (2, 5)
    assert sorted(vectors[:, 0].tolist()) == [0, 2, 4, 6, 8, 10]  # all of them, in another order


def test_colour_codes_are_the_same_every_time():
    images = normalize(torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    codes = tokens.colour_codes(images, (1, 2, 8), 30)
    assert codes.shape == (30, 3)
    assert torch.equal(codes, tokens.colour_codes(images, (1, 2, 8), 30))


def test_the_shipped_tokenizer_and_judge_are_in_eval_mode():
    judge, size = tokens.shipped_judge()
    tokenizer = tokens.shipped()
    assert not judge.training and not tokenizer.training and size == tokenizer.size == 48
