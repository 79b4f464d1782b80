"""Training of lab 10's visual towers and its unified model, on the stickers of labs 08 and 09."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from labsupport.data.stickers import stickers, tokenize
from labsupport.data.transforms import normalize
from labsupport.experiments.lab08.hart_tokenizer import reconstruction_loss
from labsupport.labs.lab09.training import rate
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.tower import VisualTower
from labsupport.models.vilau.words import DESCRIBE, QUESTIONS, answers, drawing, reading
from labsupport.training.loop import History, fit

START_IMAGES = 2000  # whose principal components a tower begins with
TOWER_LR, TOWER_BETAS, TOWER_DECAY = 2e-3, (0.9, 0.99), 0.01
TOWER_JITTER = 1.2  # of the stickers, as lab 08's tokenizer has it
LR, BETAS, DECAY = 2e-3, (0.9, 0.95), 0.03
# A codebook head's gains grow while its latents come right. Gains of 1 to 2 from the start are
# certain of what is wrong: a cross-entropy of 25 in the first 50 steps, instead of 7
GAIN_LR = 2e-2
JITTER = 0.5  # as lab 09's generators have it
CLIP = 1.0
CAPTION_DROP = 0.1  # share of the drawn images without a caption
ASKED = 0.5  # share of the read images with a question instead of the whole caption
READ = 0.375  # share of a batch that is read; drawing is learned later, and gets the rest

Batch = Callable[[int], tuple[Tensor, Tensor]]
Sequences = list[tuple[list[int], list[int]]]


def sticker_batches(size: int, batch_size: int, seed: int, jitter: float, split: str) -> Batch:
    """Batch number i of an endless supply: images (batch, 3, size, size) in [-1, 1] and captions
    (batch, words). The same i gives the same batch."""

    def batch(i: int) -> tuple[Tensor, Tensor]:
        drawn = stickers(
            batch_size, size, split=split, jitter=jitter, seed=10_000_000 * (seed + 1) + i
        )
        return normalize(drawn.images), tokenize(drawn.captions)

    return batch


def train_tower(
    tower: VisualTower,
    *,
    steps: int,
    seed: int = 0,
    batch_size: int = 32,
    lr: float = TOWER_LR,
    contrastive: float = 1.0,
    split: str = "train",
    progress: bool | str = "tower",
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> History:
    """Train in place on endless stickers: reconstruction, commitment, and, if the tower is
    aligned, `contrastive` times SigLIP's loss. `on_step(step, parts)` is told every loss."""
    batch = sticker_batches(tower.size, batch_size, seed, TOWER_JITTER, split)
    optimizer = torch.optim.AdamW(
        tower.parameters(), lr, betas=TOWER_BETAS, weight_decay=TOWER_DECAY
    )
    parts: dict[str, float] = {}

    def step(number: int) -> Tensor:
        loss = tower.loss(*batch(number), contrastive=contrastive, distance=reconstruction_loss)
        for name in ("reconstruction", "commitment", "contrastive"):
            parts[name] = getattr(loss, name).item()
        return loss.total

    def after(number: int, _: float) -> None:
        if on_step:
            on_step(number, parts)

    tower.start_from(normalize(stickers(START_IMAGES, tower.size, split=split, seed=seed).images))
    tower.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # of the codes that start again
        history = fit(step, optimizer, steps=steps, clip=CLIP, after=after, progress=progress)
    tower.eval()
    return history


def rows_for(text: Tensor, generator: torch.Generator) -> Sequences:
    """Of captions (batch, words) a row each: the first ones, `READ` of all, read their image, half
    of these for an answer and half for the caption; the others draw it, a tenth without the
    caption."""
    reads = round(READ * len(text))
    chance = torch.rand(len(text), 2, generator=generator)
    rows = [reading_row(*pair) for pair in zip(text[:reads], chance, strict=False)]
    for caption, (drop, _) in zip(text[reads:], chance[reads:], strict=True):
        rows.append(drawing([] if drop < CAPTION_DROP else caption.tolist()))
    return rows


def reading_row(caption: Tensor, chance: Tensor) -> tuple[list[int], list[int]]:
    """A row that reads the image of a caption (words,): for an answer where the first of `chance`,
    two numbers in [0, 1), is below `ASKED`, the second says to which question; else for all."""
    which, asked = DESCRIBE, list(QUESTIONS.values())
    if chance[0] < ASKED:
        which = asked[int(chance[1] * len(asked))]
    return reading(which, answers(caption[None], which)[0].tolist())


def parameter_groups(model: VilaU) -> list[dict[str, Any]]:
    """What learns of `model`: matrices with weight decay, vectors without, and a codebook head's
    gains with a rate of their own."""
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gains = [p for name, p in learned.items() if name.endswith("log_scale")]
    others = [p for name, p in learned.items() if not name.endswith("log_scale")]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in others if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return groups + ([{"params": gains, "weight_decay": 0.0, "lr": GAIN_LR}] if gains else [])


def train_unified(
    model: VilaU,
    *,
    steps: int,
    seed: int = 0,
    batch_size: int = 32,
    lr: float = LR,
    split: str = "train",
    stop_after: int | None = None,
    progress: bool | str = "unified model",
    on_step: Callable[[int, dict[str, Any]], None] | None = None,
) -> History:
    """Train what learns of `model` in place on endless stickers, some of each batch to be read and
    the others to be drawn. `on_step(step, parts)` is told every loss. `stop_after` ends before the
    schedule does."""
    batch = sticker_batches(model.tower.size, batch_size, seed, JITTER, split)
    optimizer = torch.optim.AdamW(parameter_groups(model), lr, betas=BETAS)
    generator = torch.Generator()
    parts: dict[str, Any] = {}

    def step(number: int) -> Tensor:
        images, text = batch(number)
        loss = model.loss(rows_for(text, generator.manual_seed(1_000_003 * seed + number)), images)
        parts.update(text=loss.text.item(), image=loss.image.item(), codes=loss.codes.tolist())
        parts.update(latents=loss.latents.item())
        return loss.total

    def after(number: int, _: float) -> None:
        if on_step:
            on_step(number, parts)

    model.train()
    history = fit(
        step,
        optimizer,
        steps=min(steps, stop_after or steps),
        schedule=lambda number, _: rate(number, steps),
        clip=CLIP,
        after=after,
        progress=progress,
    )
    model.eval()
    return history
