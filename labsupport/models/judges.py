"""Networks that say what a sticker shows: the judges of the generators, used in no training.

No system of their own: convolutions with batch normalisation (S. Ioffe and C. Szegedy, 2015), a
vector of features, and a linear layer for each kind of word.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Verdict(NamedTuple):
    """features: (batch, dim). logits: one tensor (batch, choices) for each kind of word."""

    features: Tensor
    logits: list[Tensor]


class JudgeNet(nn.Module):
    """Images (batch, 3, size, size) in [-1, 1], size a multiple of 16, to a `Verdict`.

    `choices` says how many words of each kind there are, `kernel` the side of the first
    convolution: two judges of different make are less likely to be wrong together.
    """

    def __init__(
        self,
        choices: Sequence[int],
        widths: Sequence[int] = (24, 48, 96, 96),
        kernel: int = 3,
        dim: int = 64,
        size: int = 64,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip((3, *widths[:-1]), widths, strict=True)):
            side = kernel if i == 0 else 3
            layers += [
                nn.Conv2d(inputs, outputs, side, stride=2, padding=side // 2, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        places = (size // 2 ** len(widths)) ** 2  # kept apart: where a thing is has to be told
        self.backbone = nn.Sequential(*layers)
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(places * widths[-1], dim), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(dim, number) for number in choices)

    def forward(self, images: Tensor) -> Verdict:
        features = self.neck(self.backbone(images))  # (batch, dim)
        return Verdict(features, [head(features) for head in self.heads])


@torch.no_grad()
def judge(net: JudgeNet, images: Tensor, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """Features (n, dim) and the likeliest word of each kind, int64 (n, kinds)."""
    features, words = [], []
    for part in images.split(batch_size):
        verdict = net(part)
        features.append(verdict.features)
        words.append(torch.stack([logits.argmax(dim=1) for logits in verdict.logits], dim=1))
    return torch.cat(features), torch.cat(words)
