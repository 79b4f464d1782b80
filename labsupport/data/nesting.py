"""Nested things: which node of a scene is on which, what is on it, where, and in what order.

A scene has up to three wholes (nodes 0 to 2), each with up to two parts (3 to 8), the first of
which may carry one more (9 to 11).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from .emoji import STYLES
from .layout import Layout
from .render import ALPHA_SIDE, TILE, sprite_bank
from .splits import stream

MAX_WHOLES = 3
PARENTS = torch.tensor([-1, -1, -1, 0, 0, 1, 1, 2, 2, 3, 5, 7])
NODES = len(PARENTS)
LEVELS = torch.tensor([0] * 3 + [1] * 6 + [2] * 3)
# WITHIN[j, k]: node k belongs to node j: it is j, or on it, or on what is on it
WITHIN = torch.eye(NODES, dtype=torch.bool)
for _node in range(NODES - 1, MAX_WHOLES - 1, -1):
    WITHIN[PARENTS[_node]] |= WITHIN[_node]

SAME_WHOLE, SAME_PART = 1 / 3, 1 / 2  # a whole, a second part, is of the kind of the one before
PARTS = (0.15, 0.6)  # a draw below the first is no part, below the second one; else there are two
ON_PART = 0.5  # the first part carries something
CONTRAST = 0.35  # distance in RGB of a thing from what it is on
PART_SIZE = (0.42, 0.55)  # longest side, as a share of that of what it is on
BROAD = 0.9  # a thing carries others if it covers so much of a part's surroundings somewhere
_REACH = 21  # these surroundings are squares of so many of a sprite's 64 pixels
_TRIES = 6


def choose_labels(
    n: int, wholes: tuple[int, int], colours: np.ndarray, carries: np.ndarray, seed: int, split: str
) -> np.ndarray:
    """Labels (n, nodes), -1 where there is no such node.

    `colours` (concepts, styles, 3) are the mean colours of the sprites: a thing differs from what
    it is on in each style, as far as there are such concepts. `carries` (concepts,) says which
    concepts other things can be on.
    """
    k = len(colours)
    gaps = np.linalg.norm(colours[:, None] - colours[None], axis=-1).min(axis=-1)  # (k, k)
    differs = np.where(np.eye(k, dtype=bool), -1.0, np.minimum(gaps, CONTRAST))
    order = stream(seed, split, "click label").random((n, NODES, k))
    again = stream(seed, split, "click kind").random((n, NODES))
    labels = np.empty((n, NODES), dtype=np.int64)
    for node, parent in enumerate(PARENTS.tolist()):
        wish = 1e-6 * order[:, node]
        if parent >= 0:  # of those that differ enough, or most, the one drawn first
            wish = wish + differs[labels[:, parent]]
        labels[:, node] = wish.argmax(axis=1)
        if node > 0 and PARENTS[node - 1] == parent:
            same = again[:, node] < (SAME_WHOLE if parent < 0 else SAME_PART)
            labels[:, node] = np.where(same, labels[:, node - 1], labels[:, node])

    draws = stream(seed, split, "click number").random((n, NODES))
    number = wholes[0] + (draws[:, 0] * (wholes[1] - wholes[0] + 1)).astype(int)
    present = np.zeros((n, NODES), dtype=bool)
    present[:, :MAX_WHOLES] = np.arange(MAX_WHOLES) < number[:, None]
    for whole in range(MAX_WHOLES):
        first, second, on_first = 3 + 2 * whole, 4 + 2 * whole, 9 + whole
        can = present[:, whole] & carries[labels[:, whole]]
        present[:, first] = can & (draws[:, first] >= PARTS[0])
        present[:, second] = can & (draws[:, first] >= PARTS[1])
        can = present[:, first] & carries[labels[:, first]]
        present[:, on_first] = can & (draws[:, on_first] < ON_PART)
    return np.where(present, labels, -1)


def nested(
    layout: Layout, labels: np.ndarray, classes: tuple[str, ...], size: int, seed: int, split: str
) -> Layout:
    """The layout with every part made smaller and put on what carries it, within the image."""
    n = len(labels)
    spots = [carrying_spots(classes, label) for label in range(len(classes))]
    counts = np.array([len(s) for s in spots])
    table = np.zeros((len(spots), max(1, counts.max()), 2))
    for row, points in zip(table, spots, strict=True):
        row[: len(points)] = points
    draws = stream(seed, split, "click place").random((n, NODES, _TRIES))
    ratio = PART_SIZE[0] + (PART_SIZE[1] - PART_SIZE[0]) * (
        stream(seed, split, "click size").random((n, NODES))
    )
    x, y, side = layout.x.copy(), layout.y.copy(), layout.side.copy()
    half = np.stack([layout.half_width, layout.half_height], axis=-1)  # (n, nodes, 2)
    for node, parent in enumerate(PARENTS.tolist()):
        if parent < 0:
            continue
        shrink = ratio[:, node] * side[:, parent] / side[:, node]
        side[:, node] *= shrink
        half[:, node] *= shrink[:, None]
        label = labels[:, parent]
        chosen = (draws[:, node] * counts[label][:, None]).astype(int)
        spot = table[label[:, None], chosen]  # (n, tries, 2), in the parent's sprite
        mirrored = np.where(layout.mirrored[:, parent], -1.0, 1.0)
        across, along = mirrored[:, None] * spot[..., 0], spot[..., 1]
        cos, sin = (f(layout.angle[:, parent])[:, None] for f in (np.cos, np.sin))
        reach = (0.5 * side[:, parent] * TILE / ALPHA_SIDE)[:, None]
        centre = np.stack(
            [
                x[:, parent, None] + reach * (cos * across - sin * along),
                y[:, parent, None] + reach * (sin * across + cos * along),
            ],
            axis=-1,
        )  # (n, tries, 2)
        room = half[:, node][:, None]
        centre = np.clip(centre, room, size - room)
        best = np.zeros(n, dtype=int)
        if PARENTS[node - 1] == parent:  # of two parts, the second is far from the first
            other = np.stack([x[:, node - 1], y[:, node - 1]], axis=-1)[:, None]
            best = np.linalg.norm(centre - other, axis=-1).argmax(axis=1)
        x[:, node], y[:, node] = centre[np.arange(n), best].T
    return replace(layout, x=x, y=y, side=side, half_width=half[..., 0], half_height=half[..., 1])


def draw_order(layout: Layout) -> np.ndarray:
    """Node numbers (n, nodes) from back to front: large wholes behind, each with all it carries."""
    sides = np.where(layout.present, layout.side, 0.0)[:, :MAX_WHOLES]
    wholes = np.argsort(-sides, axis=1, kind="stable")
    # of each whole: itself, its second part, its first, what that carries
    steps = np.stack([wholes, 4 + 2 * wholes, 3 + 2 * wholes, 9 + wholes], axis=-1)
    return steps.reshape(len(sides), -1)


@lru_cache(maxsize=256)
def carrying_spots(classes: tuple[str, ...], label: int) -> np.ndarray:
    """Where in its sprite a thing can carry another, (spots, 2), from -1 to 1; none if too thin.

    There the surroundings are covered best, in every style, so that a style changes no place.
    """
    pixels = sprite_bank(classes, STYLES).levels[TILE][label :: len(classes), 3]
    covered = (pixels > 0.5).all(dim=0).float()
    around = F.avg_pool2d(covered[None], _REACH, 1, _REACH // 2)[0]
    rows, columns = (around >= max(BROAD, 0.9 * around.max().item())).nonzero().unbind(1)
    return (torch.stack([columns, rows], dim=1).double().numpy() + 0.5) * 2 / TILE - 1
