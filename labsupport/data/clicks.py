"""Prompts for the scenes of `click_scenes`: clicks, boxes, and clicks that correct an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .arguments import one_of, whole
from .click_scenes import ClickScenes
from .drawing import visible_boxes
from .nesting import PARENTS
from .splits import stream

PLACES = ("random", "middle")
LEVELS_DEEP = 3
BOX_NOISE, MOST_NOISE = 0.1, 20 / 1024  # of a side of the box; at most, of the image's
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Clicks:
    """k clicks and what each may mean.

    Attributes:
        image: int64 (k,), the scene clicked on; the clicks of a scene follow one another.
        points: float32 (k, 2), x and y of a pixel.
        target: int64 (k,), the node that was meant.
        meanings: int64 (k, 3), all nodes that the pixel belongs to, the smallest first, the whole
            last; padded with -1 at the end. The target is among them.
    """

    image: Tensor
    points: Tensor
    target: Tensor
    meanings: Tensor

    def __len__(self) -> int:
        return len(self.image)

    @property
    def ambiguous(self) -> Tensor:
        """bool (k,), whether there is more than one meaning."""
        return self.meanings[:, 1] >= 0

    def masks(self, scenes: ClickScenes) -> Tensor:
        """bool (k, size, size), of what was meant."""
        return scenes.masks(self.image, self.target)

    def all_masks(self, scenes: ClickScenes) -> Tensor:
        """bool (k, 3, size, size), of every meaning; nothing where there are fewer."""
        found = [
            scenes.masks(self.image, nodes.clamp(min=0)) & (nodes >= 0)[:, None, None]
            for nodes in self.meanings.unbind(1)
        ]
        return torch.stack(found, dim=1)


def clicks(scenes: ClickScenes, each: int = 1, *, place: str = "random", seed: int = 0) -> Clicks:
    """`each` clicks on every scene, repeatable; the clicks on a scene do not depend on the others.

    First one of the nodes that are seen is meant, each as likely; then the click is somewhere in
    its mask ("random"), or where its edge is farthest ("middle"), as evaluations have it.

    Raises:
        ValueError: a bad argument, or a scene in which nothing is seen.
    """
    whole("each", each, 1, 10_000)
    one_of("place", place, PLACES)
    if not scenes.seen.any(dim=1).all():
        raise ValueError("scenes has one in which nothing is seen; there is nothing to click on")
    draws = torch.from_numpy(stream(seed, "all", "clicks").random((len(scenes), each, 2)))
    image = torch.arange(len(scenes)).repeat_interleave(each)
    draw, where = draws.flatten(0, 1).unbind(1)
    seen = scenes.seen[image]
    target = _nth(seen, draw)
    points = torch.empty(len(image), 2)
    foremost = torch.empty(len(image), dtype=torch.long)
    for rows in _parts(len(image)):
        masks = scenes.masks(image[rows], target[rows])
        pixel = _nth(masks.flatten(1), where[rows]) if place == "random" else _middle(masks)
        points[rows] = _coordinates(pixel, masks.shape[-1])
        maps = scenes.instance_map[image[rows]].flatten(1).long()
        foremost[rows] = maps.gather(1, pixel[:, None])[:, 0] - 1
    return Clicks(image, points, target, _meanings(foremost, seen))


def boxes_around(masks: Tensor, *, noise: bool = False, seed: int = 0) -> Tensor:
    """Boxes float32 (k, 4) of masks (k, size, size): left, top, right and bottom, the last two
    exclusive; -1 around nothing.

    With `noise` they are as from a hand: every edge moves by a normal amount, a tenth of the box's
    side but at most 20 of 1024 pixels, as SAM was trained.
    """
    boxes = visible_boxes(masks.byte(), 1)[0][:, 0]
    if not noise:
        return boxes
    size = masks.shape[-1]
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    amount = stream(seed, "all", "box noise").standard_normal((len(boxes), 4))
    moves = torch.from_numpy(amount).float() * BOX_NOISE * sides
    moved = boxes + moves.clamp(-MOST_NOISE * size, MOST_NOISE * size)
    low, high = torch.minimum(moved[:, :2], moved[:, 2:]), torch.maximum(moved[:, :2], moved[:, 2:])
    return torch.where(boxes < 0, boxes, torch.cat([low, high], dim=1).clamp(0, size))


def corrections(answers: Tensor, targets: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The next click of someone who sees the answers: points float32 (k, 2) and labels int64 (k,).

    It is anywhere in what is wrong: label 1 where the answer misses something, 0 where it has too
    much, and -1, no point, where nothing is wrong. `answers` and `targets` are bool
    (k, size, size).
    """
    draws = torch.from_numpy(stream(seed, "all", "corrections").random(len(answers)))
    wrong = (answers ^ targets).flatten(1)
    pixel = _nth(wrong, draws)
    missed = targets.flatten(1).gather(1, pixel[:, None])[:, 0]
    labels = torch.where(wrong.any(dim=1), missed.long(), -1)
    return _coordinates(pixel, answers.shape[-1]), labels


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, count, _CHUNK))


def _nth(members: Tensor, draws: Tensor) -> Tensor:
    """One of the true columns of each row (k, columns), all as likely; 0 where there is none."""
    number = members.cumsum(dim=1)
    wanted = (draws * number[:, -1]).long() + 1
    return (number == wanted[:, None]).byte().argmax(dim=1)


def _middle(masks: Tensor) -> Tensor:
    """The pixel of each mask (k, size, size) that survives longest when its rim is taken off."""
    left = masks[:, None].float()
    depth = left.clone()
    while left.any():
        # its neighbours, and what is beyond the image, count as outside
        left = 1 - F.max_pool2d(F.pad(1 - left, (1, 1, 1, 1), value=1.0), 3, 1)
        depth += left
    return depth.flatten(1).argmax(dim=1)


def _coordinates(pixel: Tensor, size: int) -> Tensor:
    return torch.stack([pixel % size, pixel // size], dim=1).float()


def _meanings(foremost: Tensor, seen: Tensor) -> Tensor:
    """The seen nodes among the foremost of each click and what it is on, (k, 3)."""
    chain = [foremost]
    for _ in range(LEVELS_DEEP - 1):
        chain.append(torch.where(chain[-1] >= 0, PARENTS[chain[-1]], -1))
    nodes = torch.stack(chain, dim=1)
    meant = (nodes >= 0) & seen.gather(1, nodes.clamp(min=0))
    order = np.argsort(~meant.numpy(), axis=1, kind="stable")  # those that count to the front
    return torch.where(meant, nodes, -1).gather(1, torch.from_numpy(order))
