"""CLIP of lab 06, trained on stickers for lab 09: it says how well an image fits its caption.

    labs experiment 09 hart_clip

The network of lab 06 at the size of stickers, with their words. Like the judges it sees every
combination and is used in no training of a generator.
"""

from pathlib import Path

import torch
from torch import Tensor

from labsupport.data.stickers import captions, combinations, stickers, tokenize
from labsupport.data.transforms import normalize
from labsupport.experiments.lab08.hart_judges import JITTER, SIZE, worsen
from labsupport.experiments.record import Run
from labsupport.models.clip.losses import clamp_scale, clip_loss
from labsupport.models.clip.model import CLIP
from labsupport.models.hart.shipped import untrained
from labsupport.training.loop import fit

STEPS, BATCH_SIZE, LR, SEED = 1500, 128, 2e-3, 0
TEST_IMAGES, TEST_SEED = 1000, 91


def train_clip(
    net: CLIP,
    steps: int = STEPS,
    seed: int = SEED,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
) -> list[float]:
    """Train in place; the loss of every step. No caption occurs twice in a batch: it would be a
    wrong answer that is right."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), LR, betas=(0.9, 0.98), weight_decay=0.05)

    def step(number: int) -> Tensor:
        batch = stickers(
            batch_size, SIZE, split="all", seed=(seed + 1) * 30_000_000 + number, jitter=JITTER
        )
        text = tokenize(batch.captions)
        rows = torch.tensor(list({tuple(row): i for i, row in enumerate(text.tolist())}.values()))
        images = worsen(normalize(batch.images[rows]), generator)
        return clip_loss(net.image(images), net.text(text[rows]), net.logit_scale)

    net.train()
    history = fit(
        step,
        optimizer,
        steps=steps,
        after=lambda number, loss: clamp_scale(net.logit_scale),
        progress="CLIP" if progress else False,
    )
    net.eval()
    return history.loss


@torch.no_grad()
def clip_scores(net: CLIP, images: Tensor, text: Tensor) -> Tensor:
    """CLIP scores (n,) of images (n, 3, size, size) in [0, 1] and captions (n, words): a hundred
    times the cosine, and 0 where that is negative (J. Hessel et al., "CLIPScore", 2021, with the
    factor of 100 that HART's table has)."""
    found = torch.cat([net.encode_image(normalize(part)) for part in images.split(250)])
    return 100 * (found * net.encode_text(text)).sum(dim=1).clamp(min=0)


def one_word_wrong(attributes: Tensor, seed: int = 0) -> Tensor:
    """The tokens of other captions (n, words), each of which differs from that of attributes
    (n, 4) in one word, whichever. All of them occur among the stickers."""
    every = combinations("all")
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for row in attributes:
        near = every[(every != row).sum(dim=1) == 1]
        chosen.append(near[torch.randint(len(near), (), generator=generator)])
    return tokenize(captions(torch.stack(chosen)))


def alignment(net: CLIP, split: str, n: int = TEST_IMAGES) -> dict[str, float]:
    """Of n real images of a split: mean scores with their captions, with captions wrong in one
    word and with those of other images, and how often the first is above the second."""
    batch = stickers(n, SIZE, split=split, seed=TEST_SEED)
    text = tokenize(batch.captions)
    true, near, other = (
        clip_scores(net, batch.images, words)
        for words in (text, one_word_wrong(batch.attributes), text.roll(1, dims=0))
    )
    return {
        "true": round(true.mean().item(), 2),
        "one word wrong": round(near.mean().item(), 2),
        "another's": round(other.mean().item(), 2),
        "told apart": round((true > near).float().mean().item(), 4),
    }


def main(root: Path) -> None:
    """Train it; write data/checkpoints/09_clip.safetensors and the record."""
    settings = {
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "seed": SEED,
        "size": SIZE,
        "jitter": JITTER,
        "test_images": TEST_IMAGES,
    }
    run = Run(root, __name__, settings)
    torch.manual_seed(SEED)
    net = untrained("clip")
    losses = train_clip(net)
    run.ship(net, "09_clip", seed=str(SEED))
    run.keep(
        [{"split": split} | alignment(net, split) for split in ("triple", "pair")],
        loss=[round(sum(losses[i : i + 50]) / 50, 4) for i in range(0, STEPS, 50)],
    )
