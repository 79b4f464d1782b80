"""Lab 08: training hybrid tokenizers on stickers, and the one that is shipped.

    labs experiment 08 hart_tokenizer

One thread, about half an hour. Weights are rounded to half precision before anything is measured.
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from labsupport.data.stickers import stickers
from labsupport.data.transforms import normalize
from labsupport.experiments.record import write_result
from labsupport.models.hart.tokenizer import HybridTokenizer
from labsupport.models.weights import save_checkpoint
from labsupport.training.schedule import learning_rate_factor

BATCH_SIZE, LR, BETAS, WEIGHT_DECAY, CLIP = 32, 2e-3, (0.9, 0.99), 0.01, 1.0
CONTINUOUS = 0.4  # share of a batch whose decoder sees the continuous latent
JITTER = 1.2  # of the stickers
EDGE_WEIGHT, SQUARE_WEIGHT, CODE_WEIGHT = 0.5, 1.0, 0.5  # beside the absolute error
SIZE, STEPS, SEED = 48, 5000, 0  # of the shipped tokenizer
TEST_IMAGES, TEST_SEED = 1000, 4242
START_IMAGES = 2000  # whose principal components training begins with
REVIVE_EVERY, REVIVE_UNTIL = 20, 0.75  # steps; share of the run


def lab_tokenizer() -> HybridTokenizer:
    """The tokenizer of labs 08 and 09, untrained."""
    return HybridTokenizer(SIZE, dim=16, codebook_size=512, scales=(1, 2, 4, 8))


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
    one for the rest (HART, section 3.1). `on_step(step, loss)` is called after every step.
    """
    optimizer = torch.optim.AdamW(
        tokenizer.parameters(), lr, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    generator = torch.Generator().manual_seed(seed)
    size, number = tokenizer.size, round(continuous * batch_size)
    used = torch.zeros(tokenizer.quantizer.codebook.num_embeddings)
    losses = []
    tokenizer.start_from(normalize(stickers(START_IMAGES, size, split=split, seed=seed).images))
    tokenizer.train()
    title = progress if isinstance(progress, str) else "tokenizer"
    with tqdm(range(steps), disable=not progress, desc=title) as bar:
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = lr * learning_rate_factor(step, steps)
            images = normalize(
                stickers(
                    batch_size, size, split=split, jitter=JITTER, seed=seed * 10_000_000 + step
                ).images
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                latent = tokenizer.encode(images).float()
            quantized = tokenizer.quantizer(latent)
            shown = torch.cat([latent[:number], quantized.discrete[number:]])
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                made = tokenizer.decode(shown).float()
            loss = reconstruction_loss(made, images)
            optimizer.zero_grad()
            (loss + CODE_WEIGHT * quantized.loss).backward()
            torch.nn.utils.clip_grad_norm_(tokenizer.parameters(), CLIP)
            optimizer.step()
            used.index_add_(0, quantized.indices.flatten(), torch.ones(quantized.indices.numel()))
            if (step + 1) % REVIVE_EVERY == 0:
                if step < REVIVE_UNTIL * steps:
                    revive(tokenizer, latent.detach(), quantized.indices, used, generator)
                used.zero_()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss became {losses[-1]} at step {step}")
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            if on_step:
                on_step(step, losses[-1])
    tokenizer.eval()
    return losses


@torch.no_grad()
def round_weights(model: nn.Module) -> None:
    """Round all weights to half precision, in place: what a shipped file of half the size holds."""
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half().float())


def save_half(model: nn.Module, path: Path, metadata: dict[str, str]) -> Path:
    """A checkpoint of half precision; `load_checkpoint` reads it as any other."""
    return save_checkpoint(copy.deepcopy(model).half(), path, metadata)


@torch.no_grad()
def sharpness(tokenizer: HybridTokenizer, split: str, n: int = TEST_IMAGES) -> dict[str, float]:
    """Mean PSNR in dB of n images of a split, from the discrete and from the continuous latent."""
    images = normalize(stickers(n, tokenizer.size, split=split, seed=TEST_SEED).images)
    errors: dict[str, list[Tensor]] = {"discrete": [], "continuous": []}
    for part in images.split(250):
        latent = tokenizer.encode(part)
        for name, shown in (
            ("discrete", tokenizer.quantizer(latent).discrete),
            ("continuous", latent),
        ):
            made = tokenizer.decode(shown).clamp(-1, 1)
            errors[name].append(((made - part) / 2).square().mean(dim=(1, 2, 3)))
    return {
        name: round((-10 * torch.cat(parts).log10()).mean().item(), 2)
        for name, parts in errors.items()
    }


def main(root: Path) -> None:
    """Train it, write data/checkpoints/08_hart_tokenizer.safetensors and its record."""
    torch.set_num_threads(1)
    start = perf_counter()
    torch.manual_seed(SEED)
    tokenizer, curve = lab_tokenizer(), []

    def log(step: int, loss: float) -> None:
        if (step + 1) % 500 == 0:
            tokenizer.eval()
            curve.append({"step": step + 1} | sharpness(tokenizer, "triple", 250))
            tqdm.write(str(curve[-1]))
            tokenizer.train()

    losses = train_tokenizer(tokenizer, steps=STEPS, seed=SEED, on_step=log)
    round_weights(tokenizer)
    command = "labs experiment 08 hart_tokenizer"
    save_half(
        tokenizer,
        root / "data/checkpoints/08_hart_tokenizer.safetensors",
        {"command": command, "seed": str(SEED)},
    )
    records = [
        {"split": split} | sharpness(tokenizer, split) for split in ("train", "triple", "pair")
    ]
    write_result(
        root / "data/results/08_hart_tokenizer.json",
        command=command,
        records=records,
        seconds=perf_counter() - start,
        curve=curve,
        loss=[round(sum(losses[i : i + 50]) / 50, 5) for i in range(0, len(losses), 50)],
        settings={
            "size": SIZE,
            "steps": STEPS,
            "seed": SEED,
            "batch_size": BATCH_SIZE,
            "lr": LR,
            "continuous": CONTINUOUS,
            "jitter": JITTER,
            "test_images": TEST_IMAGES,
            "weights": [EDGE_WEIGHT, SQUARE_WEIGHT, CODE_WEIGHT],
        },
    )
