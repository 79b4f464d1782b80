"""Layout: where the objects of each image are: size, angle, mirroring, position, depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .splits import stream

_CANDIDATES = 12


@dataclass(frozen=True)
class Layout:
    """Geometry of n images with at most m objects; every field is (n, m).

    Attributes:
        present: whether there is such an object.
        x, y: centre in pixels; the image is [0, size] wide and high.
        side: longest side of the alpha box in pixels.
        angle: in radians, clockwise on the screen.
        mirrored: whether left and right are exchanged, before the rotation.
        half_width, half_height: of the upright box around the rotated alpha box, in pixels.
    """

    present: np.ndarray
    x: np.ndarray
    y: np.ndarray
    side: np.ndarray
    angle: np.ndarray
    mirrored: np.ndarray
    half_width: np.ndarray
    half_height: np.ndarray

    @property
    def depth_order(self) -> np.ndarray:
        """Object numbers (n, m) from back to front: large ones behind, so that none vanishes."""
        return np.argsort(-np.where(self.present, self.side, 0.0), axis=1, kind="stable")


def make_layout(
    aspect: np.ndarray,
    present: np.ndarray,
    size: int,
    *,
    scale: tuple[float, float],
    rotation: float,
    flip: bool,
    centred: bool,
    seed: int,
    split: str,
) -> Layout:
    """Draw the geometry of n images.

    Args:
        aspect: (n, m, 2), width and height of each object's alpha box over its longest side.
        present: bool (n, m).
        size: side of the images in pixels.
        scale: smallest and largest longest side of an object, as shares of `size`. An object
            whose rotated box would not fit the image is made just small enough.
        rotation: largest angle in radians, either way.
        flip: mirror every second object on average.
        centred: put the objects in the middle instead of at random.
    """
    n, m = present.shape
    draws = stream(seed, split, "geometry").random((n, m, 3))
    side = size * (scale[0] + (scale[1] - scale[0]) * draws[..., 0])
    angle = rotation * (2 * draws[..., 1] - 1)
    mirrored = (draws[..., 2] < 0.5) & flip

    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    wide, high = aspect[..., 0], aspect[..., 1]
    extent = np.stack([wide * cos + high * sin, wide * sin + high * cos], axis=-1)  # (n, m, 2)
    half = 0.5 * side[..., None] * extent
    shrink = np.minimum(1.0, 0.5 * size / half.max(axis=-1))
    side, half = side * shrink, half * shrink[..., None]

    if centred:
        centre = np.full((n, m, 2), 0.5 * size)
    else:
        centre = _spread_out(half, present, size, stream(seed, split, "position"))
    return Layout(
        present, centre[..., 0], centre[..., 1], side, angle, mirrored, half[..., 0], half[..., 1]
    )


def _spread_out(
    half: np.ndarray, present: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Centres (n, m, 2) inside the image, each where it overlaps least with the earlier ones.

    Every object draws some candidate positions and takes the first of those with least overlap.
    Overlap of two objects: 1 - distance / (sum of their radii), not below zero. The squares are
    added up: two slight overlaps are better than a deep one.
    """
    n, m, _ = half.shape
    candidates = rng.random((n, m, _CANDIDATES, 2))
    room = half[:, :, None], size - half[:, :, None]
    candidates = room[0] + (room[1] - room[0]) * candidates  # (n, m, candidates, 2)
    radius = half.mean(axis=-1)
    centres = candidates[:, :, 0].copy()
    for j in range(1, m):
        gap = candidates[:, j, :, None] - centres[:, None, :j]  # (n, candidates, j, 2)
        reach = radius[:, j, None] + radius[:, :j]  # (n, j)
        overlap = 1 - np.linalg.norm(gap, axis=-1) / reach[:, None]
        overlap = np.where(present[:, None, :j], np.clip(overlap, 0, None), 0.0)
        best = (overlap**2).sum(axis=-1).argmin(axis=-1)
        centres[:, j] = candidates[np.arange(n), j, best]
    return centres
