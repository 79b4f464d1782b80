"""What lab 08 uses around its exercises: stored nets, training, and vectors to make codes of."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from labsupport.data.stickers import stickers
from labsupport.data.transforms import normalize
from labsupport.models.judges import JudgeNet
from labsupport.models.weights import load_checkpoint
from labsupport.training.loop import History
from labsupport.training.schedule import learning_rate_factor

REVIVE_EVERY, REVIVE_UNTIL = 20, 0.75  # steps; share of the run


def shipped() -> nn.Module:
    """The tokenizer stored with the lab, the course's own class; for 48 or 64 pixels, see its
    `size`. In eval mode."""
    # imported here: while the lab is graded this file is not there, and nothing needs it
    from labsupport.experiments.lab08.hart_tokenizer import lab_tokenizer

    tokenizer = lab_tokenizer()
    load_checkpoint(tokenizer, "08_hart_tokenizer")
    return tokenizer.eval()


def small() -> nn.Module:
    """An untrained tokenizer of 32-pixel images, as the stored experiment trains them."""
    from labsupport.experiments.lab08.hart_decoders import NET
    from labsupport.models.hart.tokenizer import HybridTokenizer

    return HybridTokenizer(**NET)


def shipped_judge() -> tuple[JudgeNet, int]:
    """The network that says what a sticker shows, in eval mode, and the side of its images."""
    from labsupport.experiments.lab08.hart_judges import SIZE, judge_net

    net = judge_net("a")
    load_checkpoint(net, "08_judge_a")
    return net.eval(), SIZE


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
    losses, rates, start = [], [], perf_counter()
    tokenizer.train()
    title = progress if isinstance(progress, str) else "tokenizer"
    with tqdm(range(steps), disable=not progress, desc=title) as bar:
        for number in bar:
            rates.append(lr * learning_rate_factor(number, steps))
            for group in optimizer.param_groups:
                group["lr"] = rates[-1]
            images = normalize(stickers(batch_size, size, seed=seed * 1_000_000 + number).images)
            losses.append(step(tokenizer, optimizer, images, share))
            if (number + 1) % REVIVE_EVERY == 0 and number < REVIVE_UNTIL * steps:
                indices, vectors = tokenizer.leftovers(images)
                order = torch.randperm(len(vectors), generator=generator)
                revive(tokenizer.quantizer.codebook.weight, indices, vectors[order])
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    tokenizer.eval()
    return History(losses, rates, perf_counter() - start)


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
