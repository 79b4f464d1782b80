"""Training a promptable net: a click, a box, then clicks that correct (appendix A of the paper)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.data.click_scenes import ClickScenes
from labsupport.data.clicks import boxes_around, clicks, corrections
from labsupport.data.transforms import normalize
from labsupport.models.sam.losses import promptable_loss
from labsupport.models.sam.model import Sam
from labsupport.training.loop import History, fit, shuffled_batches

BETAS = (0.9, 0.98)
CLICKS, BOXES = 4, 2  # prompts on a scene
MOST_CORRECTIONS = 3


def prompt_loss(net: Sam, scenes: ClickScenes, embeddings: Tensor, seed: int) -> Tensor:
    """The loss of `CLICKS` clicks and `BOXES` boxes on every scene, and of corrections.

    A click is answered once and judged by each of its meanings, each of which has the candidate
    nearest to it as its own: what SAM's training does in the mean, where the meaning is drawn.
    A box has one meaning. Then, in turns, the clicks or the boxes are corrected up to three times
    as `corrections` says, the best-scored answer fed back or not, and mask 0 is judged.
    `embeddings` (scenes, dim, side, side) are of these scenes.
    """
    n = len(scenes)
    asked = clicks(scenes, CLICKS + BOXES, seed=seed)
    target = asked.masks(scenes)
    rows = torch.arange(len(asked)).view(n, -1)
    dots, framed = rows[:, :CLICKS].flatten(), rows[:, CLICKS:].flatten()

    ones = torch.ones(len(dots), 1, dtype=torch.long)
    by_click = net.decode(embeddings, asked.points[dots, None], ones)
    meanings = asked.all_masks(scenes)[dots]
    prompt, which = (asked.meanings[dots] >= 0).nonzero().unbind(1)
    loss = promptable_loss(
        by_click.logits[prompt], by_click.scores[prompt], meanings[prompt, which], every_score=True
    ).total

    boxes = boxes_around(target[framed], noise=True, seed=seed)
    by_box = net.decode(embeddings, boxes=boxes)
    loss = loss + promptable_loss(*by_box, target[framed], every_score=True).total

    of_boxes, feed_back = seed % 2 == 1, seed // 2 % 2 == 1
    first = by_box if of_boxes else by_click
    goal = target[framed if of_boxes else dots]
    points, labels = (
        (torch.empty(len(goal), 0, 2), torch.empty(len(goal), 0, dtype=torch.long))
        if of_boxes
        else (asked.points[dots, None], ones)
    )
    best = first.scores.argmax(dim=1)
    answer = first.logits[torch.arange(len(goal)), best, None].detach()
    times = 1 + seed // 4 % MOST_CORRECTIONS
    for turn in range(times):
        more, kinds = corrections(answer[:, 0] > 0, goal, seed=seed + turn)
        points = torch.cat([points, more[:, None]], dim=1)
        labels = torch.cat([labels, kinds[:, None]], dim=1)
        with torch.set_grad_enabled(turn == times - 1):
            found = net.decode(
                embeddings,
                points,
                labels,
                boxes if of_boxes else None,
                answer if feed_back else None,
                multimask=False,
            )
        answer = found.logits.detach()
    return loss + promptable_loss(*found, goal, every_score=True).total


def train_promptable(
    net: Sam,
    scenes: ClickScenes,
    *,
    steps: int,
    batch_size: int = 16,
    lr: float = 2e-3,
    weight_decay: float = 0.05,
    clip: float = 1.0,
    seed: int = 0,
    progress: bool | str = True,
    after: Callable[[int, float], None] | None = None,
) -> History:
    """Train `net` in place, `batch_size` scenes a step, with the loss of `prompt_loss`.

    AdamW, the schedule of `learning_rate_factor`, gradients clipped to the norm `clip`. `seed`
    fixes the order of the scenes and the prompts. `after(number, loss)` is called after every
    step. Leaves the net in eval mode. Raises FloatingPointError when the loss is not finite.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr, betas=BETAS, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(seed)
    batches = shuffled_batches(len(scenes), batch_size, steps, generator)

    def step(number: int) -> Tensor:
        part = scenes[next(batches)]
        embeddings = net.embed(normalize(part.images))
        return prompt_loss(net, part, embeddings, seed * 1_000_000 + number)

    net.train()
    history = fit(step, optimizer, steps=steps, clip=clip, progress=progress, after=after)
    net.eval()
    return history
