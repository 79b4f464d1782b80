"""How good the answers of a promptable net are: to a click, to more of them, to a box.

All IoU are of masks above the threshold in the pixels of the scene, 0 to 1, one number a prompt.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.regression import spearman_corrcoef

from labsupport.data.click_scenes import ClickScenes
from labsupport.data.clicks import Clicks, boxes_around, corrections
from labsupport.data.transforms import normalize
from labsupport.models.sam.losses import mask_iou
from labsupport.models.sam.mask_decoder import Masks
from labsupport.models.sam.model import Sam

FOUND = 0.5  # IoU from which a mask counts as found
SCENES_AT_ONCE = 50


@torch.no_grad()
def embed_scenes(net: Sam, scenes: ClickScenes) -> Tensor:
    """Embeddings (scenes, dim, side, side)."""
    parts = normalize(scenes.images).split(SCENES_AT_ONCE)
    return torch.cat([net.embed(part) for part in parts])


@torch.no_grad()
def answer(
    net: Sam,
    embeddings: Tensor,
    points: Tensor | None = None,
    labels: Tensor | None = None,
    boxes: Tensor | None = None,
    masks: Tensor | None = None,
    multimask: bool = True,
) -> Masks:
    """As `Sam.decode`, for any number of prompts, equally many on every scene, in parts."""
    given = {"points": points, "labels": labels, "boxes": boxes, "masks": masks}
    each = next(len(v) for v in given.values() if v is not None) // len(embeddings)
    parts = []
    for start in range(0, len(embeddings), SCENES_AT_ONCE):
        some = slice(start * each, (start + SCENES_AT_ONCE) * each)
        prompt = {name: None if v is None else v[some] for name, v in given.items()}
        part = embeddings[start : start + SCENES_AT_ONCE]
        parts.append(net.decode(part, **prompt, multimask=multimask))
    logits, scores = zip(*parts, strict=True)
    return Masks(torch.cat(logits), torch.cat(scores))


def candidate_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU (n, candidates) of candidates (n, candidates, h, w) with targets (n, h, w)."""
    return mask_iou(logits, targets[:, None].expand_as(logits))


def picked(iou: Tensor, scores: Tensor) -> Tensor:
    """The IoU (n,) of the candidate that is scored best."""
    return iou.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0]


def part_and_whole(logits: Tensor, asked: Clicks, scenes: ClickScenes) -> Tensor:
    """How well the candidates cover the smallest and the largest meaning of the ambiguous clicks.

    (ambiguous clicks,): the worse of two IoUs, each of the meaning with the candidate nearest to
    it; 0 where one and the same candidate is nearest to both.
    """
    rows = asked.ambiguous.nonzero()[:, 0]
    meanings = asked.all_masks(scenes)[rows]
    last = (asked.meanings[rows] >= 0).sum(dim=1) - 1
    small = candidate_iou(logits[rows], meanings[:, 0]).max(dim=1)
    large = candidate_iou(logits[rows], meanings[torch.arange(len(rows)), last]).max(dim=1)
    worse = torch.minimum(small.values, large.values)
    return torch.where(small.indices == large.indices, 0.0, worse)


def judge_click(net: Sam, scenes: ClickScenes, asked: Clicks) -> dict[str, Any]:
    """What one click gets, means over `asked` (equally many clicks on every scene).

    `best` of the candidates against the mask that was meant, the one that the net `picked` by its
    score, `mask_0` alone; `best_clear` and `picked_clear` where the click has one meaning;
    `picked_any` for ambiguous clicks: the picked mask against the meaning nearest to it, since no
    one can tell which was meant; `both_found`, the share of ambiguous clicks whose part and whole
    are both among the candidates with IoU 0.5 or more, and the mean of the worse IoU;
    `rank_correlation`, Spearman's, of predicted and true IoU over all candidates;
    `wins`, how often each candidate is the best.
    """
    embeddings = embed_scenes(net, scenes)
    points, labels = asked.points[:, None], torch.ones(len(asked), 1, dtype=torch.long)
    logits, scores = answer(net, embeddings, points, labels)
    alone = answer(net, embeddings, points, labels, multimask=False).logits
    goal = asked.masks(scenes)
    iou = candidate_iou(logits, goal)
    best, which = iou.max(dim=1)
    chosen, clear = picked(iou, scores), ~asked.ambiguous
    every = torch.stack([candidate_iou(logits, m) for m in asked.all_masks(scenes).unbind(1)])
    nearest = picked(every.amax(dim=0), scores)
    both = part_and_whole(logits, asked, scenes)
    wins = torch.bincount(which, minlength=iou.shape[1]) / len(which)
    found = {
        "best": best.mean(),
        "picked": chosen.mean(),
        "mask_0": candidate_iou(alone, goal).mean(),
        "best_clear": best[clear].mean(),
        "picked_clear": chosen[clear].mean(),
        "best_ambiguous": best[~clear].mean(),
        "picked_ambiguous": chosen[~clear].mean(),
        "picked_any": nearest[~clear].mean(),
        "both_found": (both >= FOUND).float().mean(),
        "both_iou": both.mean(),
        "rank_correlation": spearman_corrcoef(scores.flatten(), iou.flatten()),
    }
    numbers: dict[str, Any] = {name: round(value.item(), 4) for name, value in found.items()}
    return numbers | {
        "clicks": len(asked),
        "ambiguous": int((~clear).sum()),
        "wins": [round(v, 3) for v in wins.tolist()],
    }


def iou_of_clicks(
    net: Sam, scenes: ClickScenes, asked: Clicks, most: int = 5, *, box: bool = False, seed: int = 0
) -> list[float]:
    """Mean IoU after 1, 2, … `most` prompts: the click, then clicks from what is wrong.

    The first answer is the candidate scored best; then it is mask 0, the answer before fed back.
    With `box` it begins with the box around what is meant.
    """
    embeddings, goal = embed_scenes(net, scenes), asked.masks(scenes)
    if box:
        boxes: Tensor | None = boxes_around(goal)
        points = torch.empty(len(asked), 0, 2)
        first = answer(net, embeddings, boxes=boxes)
    else:
        boxes, points = None, asked.points[:, None]
        first = answer(net, embeddings, points, torch.ones(len(asked), 1, dtype=torch.long))
    labels = torch.ones(points.shape[:2], dtype=torch.long)
    best = first.scores.argmax(dim=1)
    logits = first.logits[torch.arange(len(asked)), best, None]
    found = [candidate_iou(logits, goal).mean().item()]
    for turn in range(1, most):
        more, kinds = corrections(logits[:, 0] > 0, goal, seed=seed + turn)
        points = torch.cat([points, more[:, None]], dim=1)
        labels = torch.cat([labels, kinds[:, None]], dim=1)
        logits, _ = answer(net, embeddings, points, labels, boxes, logits, multimask=False)
        found.append(candidate_iou(logits, goal).mean().item())
    return [round(value, 4) for value in found]
