"""A visual tower that learns meaning from few captioned images, and to rebuild from endless ones.

What VILA-U's towers see is the other way round: captions for all. Here alignment knows no caption
that a reader of few captions does not know too.
"""

import torch
from torch import Tensor

from labsupport.data.stickers import stickers
from labsupport.data.transforms import normalize
from labsupport.experiments.lab08.hart_tokenizer import reconstruction_loss
from labsupport.experiments.lab10.training import (
    CLIP,
    START_IMAGES,
    TOWER_BETAS,
    TOWER_DECAY,
    TOWER_JITTER,
    TOWER_LR,
    sticker_batches,
)
from labsupport.models.vilau.alignment import same_captions, sigmoid_loss
from labsupport.models.vilau.tower import COMMITMENT, VisualTower
from labsupport.training.loop import History, fit, shuffled_batches


def train_with_few(
    tower: VisualTower,
    images: Tensor,
    text: Tensor,
    *,
    steps: int,
    seed: int = 0,
    batch_size: int = 32,
    lr: float = TOWER_LR,
    progress: bool | str = "tower with few captions",
) -> History:
    """Train an aligned tower in place. Half of every batch are captioned `images` (n, 3, size,
    size) in [-1, 1], whose captions `text` (n, words) are learned; half are endless stickers
    without. All are rebuilt. Raises ValueError where the tower is not aligned."""
    alignment = tower.alignment
    if alignment is None:
        raise ValueError("a tower without alignment learns from no captions")
    generator, half = torch.Generator().manual_seed(seed), batch_size // 2
    batches = shuffled_batches(len(images), half, steps, generator)
    endless = sticker_batches(tower.size, batch_size - half, seed, TOWER_JITTER, "train")
    optimizer = torch.optim.AdamW(
        tower.parameters(), lr, betas=TOWER_BETAS, weight_decay=TOWER_DECAY
    )

    def step(number: int) -> Tensor:
        which = next(batches)
        shown = torch.cat([images[which], endless(number)[0]])
        quantized = tower.tokenize(shown)
        wrong = reconstruction_loss(tower.decode(quantized.discrete), shown)
        logits = alignment(quantized.discrete[:half], text[which])
        agree = sigmoid_loss(logits, same_captions(text[which]))
        return wrong + COMMITMENT * quantized.commitment + agree

    tower.start_from(normalize(stickers(START_IMAGES, tower.size, seed=seed).images))
    tower.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # of the codes that start again
        history = fit(step, optimizer, steps=steps, clip=CLIP, progress=progress)
    tower.eval()
    return history
