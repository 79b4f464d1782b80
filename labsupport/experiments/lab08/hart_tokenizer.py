"""Training of hybrid tokenizers on stickers, and the one that labs 08 and 09 ship.

    labs experiment 08 hart_tokenizer

One thread, about half an hour. Weights are rounded to half precision before anything is measured.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from labsupport.data.stickers import stickers
from labsupport.data.transforms import normalize, to_unit
from labsupport.experiments.record import Run
from labsupport.metrics.images import psnr
from labsupport.models.apply import in_parts
from labsupport.models.hart.config import HartConfig
from labsupport.models.hart.shipped import untrained
from labsupport.models.hart.tokenizer import HybridTokenizer
from labsupport.training.loop import fit
from labsupport.training.precision import autocast

BATCH_SIZE, LR, BETAS, WEIGHT_DECAY, CLIP = 32, 2e-3, (0.9, 0.99), 0.01, 1.0
CONTINUOUS = 0.4  # share of a batch whose decoder sees the continuous latent
JITTER = 1.2  # of the stickers
EDGE_WEIGHT, SQUARE_WEIGHT, CODE_WEIGHT = 0.5, 1.0, 0.5  # beside the absolute error
SIZE, STEPS, SEED = HartConfig.size, 5000, 0  # of the shipped tokenizer
TEST_IMAGES, TEST_SEED = 1000, 4242
START_IMAGES = 2000  # whose principal components training begins with
REVIVE_EVERY, REVIVE_UNTIL = 20, 0.75  # steps; share of the run


def edges(images: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbouring pixels, down and across."""
    return images.diff(dim=2), images.diff(dim=3)


def reconstruction_loss(made: Tensor, images: Tensor) -> Tensor:
    """Absolute and squared error, and the absolute error of edges, which keeps outlines sharp."""
    loss = F.l1_loss(made, images) + SQUARE_WEIGHT * F.mse_loss(made, images)
    for ours, theirs in zip(edges(made), edges(images), strict=True):
        loss = loss + EDGE_WEIGHT * F.l1_loss(ours, theirs)
    return loss


@torch.no_grad()
def revive(
    tokenizer: HybridTokenizer,
    latent: Tensor,
    indices: Tensor,
    used: Tensor,
    generator: torch.Generator,
) -> None:
    """Put codes that were not `used` where vectors are that had to be explained lately."""
    quantizer = tokenizer.quantizer
    rests = [latent, *(latent - total for total in quantizer.partial_sums(indices)[:-1])]
    vectors = torch.cat(
        [
            F.interpolate(rest, size=(scale, scale), mode="area").flatten(2).mT.flatten(0, 1)
            for rest, scale in zip(rests, quantizer.scales, strict=True)
        ]
    )
    dead = (used == 0).nonzero()[:, 0]
    chosen = torch.randint(len(vectors), (len(dead),), generator=generator)
    quantizer.codebook.weight[dead] = vectors[chosen]


def train_tokenizer(
    tokenizer: HybridTokenizer,
    *,
    steps: int,
    seed: int = 0,
    continuous: float = CONTINUOUS,
    batch_size: int = BATCH_SIZE,
    lr: float = LR,
    split: str = "train",
    bfloat16: bool = True,
    progress: bool | str = True,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train in place on endless stickers; returns the reconstruction loss of every step.

    The decoder sees the continuous latent for a `continuous` share of each batch and the discrete
    one for the rest (HART, section 3.1). Convolutions compute in bfloat16 where the processor does.
    `on_step(step, loss)` is called after every step.
    """
    optimizer = torch.optim.AdamW(
        tokenizer.parameters(), lr, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    generator = torch.Generator().manual_seed(seed)
    size, number = tokenizer.size, round(continuous * batch_size)
    used = torch.zeros(tokenizer.quantizer.codebook.num_embeddings)
    losses: list[float] = []
    last: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))  # latent and codes of a step

    def step(at: int) -> Tensor:
        nonlocal last
        drawn = stickers(batch_size, size, split=split, jitter=JITTER, seed=seed * 10_000_000 + at)
        images = normalize(drawn.images)
        with autocast(bfloat16):
            latent = tokenizer.encode(images).float()
        quantized = tokenizer.quantizer(latent)
        shown = torch.cat([latent[:number], quantized.discrete[number:]])
        with autocast(bfloat16):
            made = tokenizer.decode(shown).float()
        loss = reconstruction_loss(made, images)
        losses.append(loss.item())
        last = latent.detach(), quantized.indices
        return loss + CODE_WEIGHT * quantized.loss

    def after(at: int, _: float) -> None:
        latent, indices = last
        used.index_add_(0, indices.flatten(), torch.ones(indices.numel()))
        if (at + 1) % REVIVE_EVERY == 0:
            if at < REVIVE_UNTIL * steps:
                revive(tokenizer, latent, indices, used, generator)
            used.zero_()
        if on_step:
            on_step(at, losses[-1])

    tokenizer.start_from(normalize(stickers(START_IMAGES, size, split=split, seed=seed).images))
    tokenizer.train()
    title = "tokenizer" if progress is True else progress
    fit(step, optimizer, steps=steps, clip=CLIP, after=after, progress=title)
    tokenizer.eval()
    return losses


@torch.no_grad()
def round_weights(model: nn.Module) -> None:
    """Round all weights to half precision, in place: what a shipped file of half the size holds."""
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half().float())


def halved(model: nn.Module) -> nn.Module:
    """A copy in half precision, to be shipped; `load_checkpoint` reads it as any other."""
    return copy.deepcopy(model).half()


def sharpness(tokenizer: HybridTokenizer, split: str, n: int = TEST_IMAGES) -> dict[str, float]:
    """Mean PSNR in dB of n images of a split, from the discrete and from the continuous latent."""
    images = stickers(n, tokenizer.size, split=split, seed=TEST_SEED).images
    latent = in_parts(tokenizer.encode, normalize(images))
    discrete = in_parts(lambda part: tokenizer.quantizer(part).discrete, latent)
    return {
        name: round(psnr(to_unit(in_parts(tokenizer.decode, shown)), images), 2)
        for name, shown in (("discrete", discrete), ("continuous", latent))
    }


def main(root: Path) -> None:
    """Train it, write data/checkpoints/08_hart_tokenizer.safetensors and its record."""
    settings = {
        "size": SIZE,
        "steps": STEPS,
        "seed": SEED,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "continuous": CONTINUOUS,
        "jitter": JITTER,
        "test_images": TEST_IMAGES,
        "weights": [EDGE_WEIGHT, SQUARE_WEIGHT, CODE_WEIGHT],
    }
    run = Run(root, __name__, settings)
    torch.manual_seed(SEED)
    tokenizer, curve = untrained("tokenizer"), []

    def log(step: int, loss: float) -> None:
        if (step + 1) % 500 == 0:
            tokenizer.eval()
            curve.append({"step": step + 1} | sharpness(tokenizer, "triple", 250))
            tqdm.write(str(curve[-1]))
            tokenizer.train()

    losses = train_tokenizer(tokenizer, steps=STEPS, seed=SEED, on_step=log)
    round_weights(tokenizer)
    run.ship(halved(tokenizer), "08_hart_tokenizer", seed=str(SEED))
    run.keep(
        [{"split": split} | sharpness(tokenizer, split) for split in ("train", "triple", "pair")],
        curve=curve,
        loss=[round(sum(losses[i : i + 50]) / 50, 5) for i in range(0, len(losses), 50)],
    )
