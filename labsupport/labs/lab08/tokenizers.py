"""Tokenizers around lab 08's exercises: stored nets, training, and vectors to make codes of."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.data.stickers import stickers
from labsupport.data.transforms import normalize
from labsupport.models.hart.shipped import JUDGE_SIZE, pretrained
from labsupport.models.judges import JudgeNet
from labsupport.training.loop import History, fit

SMALL: dict[str, Any] = {
    "size": 32,
    "dim": 8,
    "codebook_size": 256,
    "scales": (1, 2, 4, 8),
    "widths": (16, 32, 64),
    "blocks": 1,
}
REVIVE_EVERY, REVIVE_UNTIL = 20, 0.75  # steps; share of the run


def shipped() -> nn.Module:
    """The tokenizer stored with the lab, the course's own class; for 48 or 64 pixels, see its
    `size`. In eval mode."""
    return pretrained("tokenizer")


def small() -> nn.Module:
    """An untrained tokenizer of 32-pixel images, as the stored experiment trains them."""
    # imported here: while the lab is graded this file is not there, and nothing needs it
    from labsupport.models.hart.tokenizer import HybridTokenizer

    return HybridTokenizer(**SMALL)


def shipped_judge() -> tuple[JudgeNet, int]:
    """The network that says what a sticker shows, in eval mode, and the side of its images."""
    return pretrained("judge a"), JUDGE_SIZE


def train(
    tokenizer: nn.Module,
    step: Callable[..., float],
    revive: Callable[..., Any],
    *,
    size: int,
    steps: int,
    batch_size: int = 32,
    lr: float = 2e-3,
    share: float = 0.5,
    seed: int = 0,
    progress: bool | str = True,
) -> History:
    """Train `tokenizer` in place with `step(tokenizer, optimizer, images, share)`, which returns
    the loss, on endless stickers of `size` pixels.

    Every 20 steps of the first three quarters the codes that the last batch did not use are
    revived: `revive(codebook, indices, vectors)` with what `tokenizer.leftovers(images)` says.
    """
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr, betas=(0.9, 0.99), weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    images = torch.empty(0)

    def one(number: int) -> float:
        nonlocal images
        images = normalize(stickers(batch_size, size, seed=seed * 1_000_000 + number).images)
        return float(step(tokenizer, optimizer, images, share))

    def after(number: int, _: float) -> None:
        if (number + 1) % REVIVE_EVERY == 0 and number < REVIVE_UNTIL * steps:
            indices, vectors = tokenizer.leftovers(images)
            order = torch.randperm(len(vectors), generator=generator)
            revive(tokenizer.quantizer.codebook.weight, indices, vectors[order])

    tokenizer.train()
    title = "tokenizer" if progress is True else progress
    history = fit(one, optimizer, steps=steps, after=after, progress=title)
    tokenizer.eval()
    return history


def colour_codes(images: Tensor, scales: Sequence[int], number: int, seed: int = 0) -> Tensor:
    """A codebook (number, 3) for images (n, 3, side, side) that are quantized scale by scale.

    Equally many vectors from each scale, drawn at random from what the scales before leave if
    they say all they can.
    """
    generator = torch.Generator().manual_seed(seed)
    side, rest, codes = images.shape[-1], images, []
    for scale in scales:
        vectors = F.interpolate(rest, size=(scale, scale), mode="area")
        rest = rest - (
            F.interpolate(vectors, size=(side, side), mode="bicubic") if scale < side else vectors
        )
        flat = vectors.transpose(0, 1).flatten(1).T  # (n scale², 3)
        codes.append(flat[torch.randint(len(flat), (number // len(scales),), generator=generator)])
    return torch.cat(codes)
