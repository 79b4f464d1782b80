"""Training a promptable net from masks alone, whoever made them: one click, one mask meant.

For experiments on what a net is trained with; the shipped nets have `labs.lab04.training`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labsupport.data.click_scenes import ClickScenes
from labsupport.data.transforms import normalize
from labsupport.models.sam.losses import promptable_loss
from labsupport.models.sam.model import Sam
from labsupport.training.loop import History, fit

IMAGES, EACH = 8, 4  # a step: so many images, clicks on each
LR, WEIGHT_DECAY = 2e-3, 0.05

# logits (n, 3, h, w), scores (n, 3) and targets (n, h, w) to a loss
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def best_of_three(logits: Tensor, scores: Tensor, targets: Tensor) -> Tensor:
    """SAM's: the candidate nearest to the target learns."""
    return promptable_loss(logits, scores, targets, every_score=True).total


def one_mask(logits: Tensor, scores: Tensor, targets: Tensor) -> Tensor:
    """The first candidate alone, whatever was meant."""
    return promptable_loss(logits[:, :1], scores[:, :1], targets).total


def mean_of_three(logits: Tensor, scores: Tensor, targets: Tensor) -> Tensor:
    """All candidates learn the target, with the mean of their losses."""
    parts = [
        promptable_loss(logits[:, [i]], scores[:, [i]], targets).total
        for i in range(logits.shape[1])
    ]
    return torch.stack(parts).mean()


def seen_masks(scenes: ClickScenes) -> list[Tensor]:
    """The true masks of everything that is seen: of every scene bool (masks, size, size)."""
    found = []
    for image, seen in enumerate(scenes.seen):
        nodes = seen.nonzero()[:, 0]
        found.append(scenes.masks(torch.full_like(nodes, image), nodes))
    return found


def train_on_masks(
    net: Sam,
    images: Tensor,
    masks: Sequence[Tensor],
    *,
    steps: int,
    loss: Loss = best_of_three,
    evenly: str = "images",
    seed: int = 0,
    progress: bool | str = False,
) -> History:
    """Train `net` in place with clicks in `masks` (one or more of every image, bool), each of which
    is what a click in it means. Leaves the net in eval mode. Repeatable by `seed`.

    `evenly`: every one of the "images" is drawn as often, or every one of the "masks", so that an
    image in which few are known counts for little.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        net.parameters(), LR, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
    )
    once_a_mask = [i for i, some in enumerate(masks) for _ in some]
    pool = once_a_mask if evenly == "masks" else list(range(len(images)))

    def drawn(below: int) -> int:
        return int(torch.randint(below, (), generator=generator))

    def step(number: int) -> Tensor:
        chosen = [pool[drawn(len(pool))] for _ in range(IMAGES)]
        targets, points = [], []
        for image in chosen:
            for _ in range(EACH):
                mask = masks[image][drawn(len(masks[image]))]
                inside = mask.nonzero()
                targets.append(mask)
                points.append(inside[drawn(len(inside))].flip(0))
        clicked = torch.stack(points)[:, None].float()
        labels = torch.ones(len(clicked), 1, dtype=torch.long)
        found = net.decode(net.embed(normalize(images[chosen])), clicked, labels)
        return loss(found.logits, found.scores, torch.stack(targets))

    net.train()
    history = fit(step, optimizer, steps=steps, clip=1.0, progress=progress)
    net.eval()
    return history
