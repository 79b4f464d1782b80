"""Calm backgrounds: muted colours, gradients and soft texture, in contrast with the objects."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from .splits import stream

BACKGROUNDS = ("calm", "plain", "white")
MIN_CONTRAST = 0.35  # distance in RGB between a background and the mean colour of an object
GRAIN = 0.01  # standard deviation of the pixel noise of a calm background
_CANDIDATES = 6
_TEXTURE_CELLS = 5


def hsv_to_rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Colours (...) in [0, 1] from HSV to RGB (..., 3)."""
    offsets = np.array([0.0, 4.0, 2.0])
    pure = np.clip(np.abs((6 * hue[..., None] + offsets) % 6 - 3) - 1, 0, 1)  # (..., 3)
    return value[..., None] * (1 + saturation[..., None] * (pure - 1))


def contrasting_colours(n: int, object_colours: np.ndarray, seed: int, split: str) -> np.ndarray:
    """One muted RGB colour per image, (n, 3).

    Of six random colours the first is taken that is at least MIN_CONTRAST away from every colour
    in `object_colours` (n, m, 3; NaN where there is no object), else the farthest. Only what is
    too near is refused: a rule that picked the farthest always would give away the class.
    """
    draws = stream(seed, split, "background colour").random((n, _CANDIDATES, 3))
    colours = hsv_to_rgb(draws[..., 0], 0.06 + 0.20 * draws[..., 1], 0.45 + 0.50 * draws[..., 2])
    gaps = colours[:, :, None] - object_colours[:, None]  # (n, candidates, m, 3)
    distance = np.linalg.norm(gaps, axis=-1)
    nearest = np.where(np.isnan(distance), np.inf, distance).min(axis=-1)  # (n, candidates)
    enough = nearest >= MIN_CONTRAST
    choice = np.where(enough.any(axis=1), enough.argmax(axis=1), nearest.argmax(axis=1))
    return colours[np.arange(n), choice]


class BackgroundPainter:
    """Paints the backgrounds of n images in consecutive chunks of any size.

    Args:
        background: "calm" (plain, gradient or soft texture, and a fine grain), "plain" (one muted
            colour an image) or "white".
        object_colours: (n, m, 3), see contrasting_colours.
    """

    def __init__(
        self, background: str, size: int, object_colours: np.ndarray, seed: int, split: str
    ):
        n = len(object_colours)
        self.background, self.size, self.done = background, size, 0
        self.colours = np.ones((n, 3))
        if background != "white":
            self.colours = contrasting_colours(n, object_colours, seed, split)
        draws = stream(seed, split, "background kind").random((n, 4))
        kind = draws[:, 0]  # below 1/4 plain, then gradient, above 5/8 texture
        self.angles = 2 * np.pi * draws[:, 1]
        self.slopes = np.where((kind >= 0.25) & (kind < 0.625), 0.12 + 0.20 * draws[:, 2], 0.0)
        self.textures = np.where(kind >= 0.625, 0.02 + 0.05 * draws[:, 3], 0.0)
        self.texture_stream = stream(seed, split, "background texture")
        self.grain_stream = stream(seed, split, "background grain")

    def paint(self, count: int) -> torch.Tensor:
        """The next `count` backgrounds, float32 (count, 3, size, size) in [0, 1]."""
        rows = slice(self.done, self.done + count)
        self.done += count
        colours = torch.from_numpy(self.colours[rows]).float()[:, :, None, None]
        canvas = colours.expand(-1, -1, self.size, self.size).contiguous()
        if self.background != "calm":
            return canvas
        shape = (count, 1, self.size, self.size)  # the same for the three colours
        grain = self.grain_stream.standard_normal(shape, dtype=np.float32)
        canvas += self._shading(rows) + GRAIN * torch.from_numpy(grain)
        return canvas.clamp_(0, 1)

    def _shading(self, rows: slice) -> torch.Tensor:
        """Lighter and darker parts: gradient or texture, float32 (count, 1, size, size)."""
        axis = torch.linspace(-0.5, 0.5, self.size)
        along_x = torch.from_numpy(np.cos(self.angles[rows]) * self.slopes[rows]).float()
        along_y = torch.from_numpy(np.sin(self.angles[rows]) * self.slopes[rows]).float()
        shading = along_y[:, None, None] * axis[:, None] + along_x[:, None, None] * axis
        cells = (len(along_x), _TEXTURE_CELLS, _TEXTURE_CELLS)
        noise = torch.from_numpy(self.texture_stream.standard_normal(cells, dtype=np.float32))
        textured = torch.from_numpy(np.nonzero(self.textures[rows])[0])
        if len(textured) > 0:
            smooth = F.interpolate(
                noise[textured, None], size=axis.shape * 2, mode="bicubic", align_corners=True
            )  # (textured, 1, size, size)
            strength = torch.from_numpy(self.textures[rows]).float()[textured]
            shading[textured] += strength[:, None, None] * smooth[:, 0]
        return shading[:, None]
