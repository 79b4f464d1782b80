"""Pixels: places sprites on backgrounds and records who covers which pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from .emoji import load_emoji
from .layout import Layout

TILE = 64  # side of a stored sprite in pixels
ALPHA_SIDE = 56  # longest side of its alpha box
_LEVELS = (16, 32, 64)
_PATCH_STEP = 4  # patches are grouped by sides that are multiples of this


@dataclass(frozen=True)
class SpriteBank:
    """Sprites of the chosen concepts in the chosen styles, style by style.

    Attributes:
        levels: per side L in 16, 32, 64, float32 (sprites, 4, L, L): RGB times alpha, and alpha.
            Premultiplied, because only then is averaging pixels correct at the edges.
        colours: (concepts, styles, 3), mean colour of every sprite in *all* styles, so that
            backgrounds chosen by it do not depend on the style.
        aspect: (concepts, 2), width and height of the alpha box over its longest side; the larger
            of the styles, for the same reason.
    """

    levels: dict[int, torch.Tensor]
    colours: np.ndarray
    aspect: np.ndarray


def _premultiplied(sprites: np.ndarray) -> torch.Tensor:
    """uint8 (n, 64, 64, 4) with straight alpha to float32 (n, 4, 64, 64), premultiplied."""
    pixels = torch.from_numpy(sprites).permute(0, 3, 1, 2).float() / 255  # (n, 4, 64, 64)
    pixels[:, :3] *= pixels[:, 3:]
    return pixels


def _alpha_aspect(pixels: torch.Tensor) -> np.ndarray:
    """Width and height of the alpha boxes, (n, 2), as shares of the longest side."""
    opaque = pixels[:, 3] > 8 / 255
    width, height = opaque.any(dim=1).sum(dim=1), opaque.any(dim=2).sum(dim=1)
    return (torch.stack([width, height], dim=1) / ALPHA_SIDE).clamp(max=1).double().numpy()


@lru_cache(maxsize=4)
def sprite_bank(names: tuple[str, ...], styles: tuple[str, ...]) -> SpriteBank:
    """The sprites of these concepts, prepared for rendering; kept for the next call."""
    pack = load_emoji()
    rows = [pack.find(name) for name in names]
    drawn = {style: _premultiplied(pack.sprites[style][rows]) for style in pack.sprites}
    full = torch.cat([drawn[style] for style in styles])
    levels = {side: F.avg_pool2d(full, TILE // side) for side in _LEVELS}
    means = [p[:, :3].sum(dim=(2, 3)) / p[:, 3:].sum(dim=(2, 3)) for p in drawn.values()]
    return SpriteBank(
        levels=levels,
        colours=torch.stack(means, dim=1).double().numpy(),
        aspect=np.maximum(*(_alpha_aspect(p) for p in drawn.values())),
    )


def composite(
    canvas: torch.Tensor, bank: SpriteBank, sprite: np.ndarray, layout: Layout
) -> tuple[torch.Tensor, np.ndarray]:
    """Draw the objects on `canvas`, in place, from back to front.

    Args:
        canvas: float32 (n, 3, size, size), the backgrounds.
        sprite: int (n, m), each object's row in the bank's levels; read where present only.
        layout: the geometry of the same n images.

    Returns:
        instance_map: uint8 (n, size, size), 0 background, j + 1 where object j is the foremost
            one with more than half coverage.
        area: int (n, m), pixels of each object before others cover it.
    """
    n, _, size, _ = canvas.shape
    image, item = np.nonzero(layout.present)
    patches, left, top = _sample(bank, sprite, layout, image, item, size)
    number = np.full(layout.present.shape, -1)  # where object (image, item) is in these lists
    number[image, item] = np.arange(len(image))

    pixels, instance_map = canvas.numpy(), np.zeros((n, size, size), dtype=np.uint8)
    area = np.zeros(layout.present.shape, dtype=np.int64)
    for i, order in enumerate(layout.depth_order.tolist()):
        for j in order:
            k = number[i, j]
            if k < 0:
                continue
            patch = patches[k]  # (4, side, side)
            rows = slice(top[k], top[k] + patch.shape[-1])
            columns = slice(left[k], left[k] + patch.shape[-1])
            region = pixels[i, :, rows, columns]
            region *= 1 - patch[3]
            region += patch[:3]
            opaque = patch[3] > 0.5
            instance_map[i, rows, columns][opaque] = j + 1
            area[i, j] = np.count_nonzero(opaque)
    return torch.from_numpy(instance_map), area


def _sample(
    bank: SpriteBank,
    sprite: np.ndarray,
    layout: Layout,
    image: np.ndarray,
    item: np.ndarray,
    size: int,
) -> tuple[list[np.ndarray], list[int], list[int]]:
    """Resample each listed object's sprite in a square patch of whole pixels that contains it.

    Returns one premultiplied patch float32 (4, side, side) per object, and the patches' left and
    top. As every object fits the image, so can its patch: nothing has to be cut off afterwards.
    """
    x, y = layout.x[image, item], layout.y[image, item]
    box = layout.side[image, item] * TILE / ALPHA_SIDE  # side of the whole sprite in pixels
    reach = 2 * np.maximum(layout.half_width, layout.half_height)[image, item] + 2
    side = np.minimum(_PATCH_STEP * np.ceil(reach / _PATCH_STEP), size).astype(int)
    left = np.clip(np.rint(x - side / 2), 0, size - side).astype(int)
    top = np.clip(np.rint(y - side / 2), 0, size - side).astype(int)
    level = np.where(box > 40, 64, np.where(box > 20, 32, 16))

    # Image to sprite coordinates, which run from -1 to 1 over the sprite.
    cos = np.cos(layout.angle[image, item]) * 2 / box
    sin = np.sin(layout.angle[image, item]) * 2 / box
    mirror = np.where(layout.mirrored[image, item], -1.0, 1.0)
    numbers = np.stack([x - left, y - top, cos, sin, mirror], axis=1)

    patches: list[np.ndarray] = [np.empty(0)] * len(image)
    for key in np.unique(side * 1000 + level).tolist():
        patch_side, patch_level = divmod(key, 1000)
        rows = np.nonzero((side == patch_side) & (level == patch_level))[0]
        grid = _sampling_grid(torch.from_numpy(numbers[rows]).float(), patch_side)
        source = bank.levels[patch_level][sprite[image[rows], item[rows]]]
        sampled = F.grid_sample(source, grid, padding_mode="zeros", align_corners=False)
        for row, patch in zip(rows.tolist(), sampled.numpy(), strict=True):
            patches[row] = patch
    return patches, left.tolist(), top.tolist()


def _sampling_grid(numbers: torch.Tensor, side: int) -> torch.Tensor:
    """Where in its sprite each patch pixel lies, (objects, side, side, 2), from (objects, 5)."""
    x, y, cos, sin, mirror = (column[:, None, None] for column in numbers.unbind(dim=1))
    centres = torch.arange(side) + 0.5
    right, down = centres - x, centres[:, None] - y  # (objects, 1, side), (objects, side, 1)
    across = mirror * (cos * right + sin * down)
    along = cos * down - sin * right
    return torch.stack([across, along], dim=-1)
