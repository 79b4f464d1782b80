"""Prompts as the decoder reads them: points, boxes and masks (section 3 and appendix A)."""

import math
from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from labsupport.models.sam.image_encoder import NORM_EPS
from labsupport.models.segformer import LayerNorm2d

LEAVE_OUT, TAKE_IN, CORNERS = 0, 1, (2, 3)  # labels of points: not this, this; of a box
NO_POINT = -1


class Prompt(NamedTuple):
    """Prompts of n masks: tokens and a map.

    Attributes:
        sparse: (n, tokens, dim), of points and corners; no tokens where there are none.
        dense: (n, dim, side, side), of a mask, or of there being none.
    """

    sparse: Tensor
    dense: Tensor


class FourierPositions(nn.Module):
    """Points of the unit square to `dim` sines and cosines of random frequencies.

    A point (x, y), mapped to [-1, 1]², is projected on dim / 2 random directions; sines of 2π
    times that, then the cosines. Frequencies are drawn once, from a normal distribution, and
    never trained: a buffer. M. Tancik et al., "Fourier Features Let Networks Learn High Frequency
    Functions in Low Dimensional Domains" (NeurIPS 2020).
    """

    gaussian: Tensor

    def __init__(self, dim: int):
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim={dim} must be even: half of it are sines, half are cosines")
        self.register_buffer("gaussian", torch.randn(2, dim // 2))

    def forward(self, points: Tensor) -> Tensor:
        """(…, 2), x and y in [0, 1], to (…, dim)."""
        turns = (2 * points - 1) @ self.gaussian
        return torch.cat([(2 * math.pi * turns).sin(), (2 * math.pi * turns).cos()], dim=-1)

    def grid(self, side: int) -> Tensor:
        """Positions of the centres of side x side equal cells, (dim, side, side)."""
        centres = (torch.arange(side, device=self.gaussian.device) + 0.5) / side
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self(torch.stack([x, y], dim=-1)).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """Points, boxes and masks to a `Prompt`.

    Points and boxes are in pixels of a square of `frame` x `frame`, a whole number being the
    corner of its pixel: half a pixel is added. What a point stands for (left out, taken in, first
    and second corner of a box) is a learned vector added to its position.
    """

    def __init__(self, dim: int, frame: int, side: int, mask_channels: int = 16):
        super().__init__()
        self.dim, self.frame, self.side = dim, frame, side
        self.positions = FourierPositions(dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        few = mask_channels // 4
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, few, 2, 2),
            LayerNorm2d(few, eps=NORM_EPS),
            nn.GELU(),
            nn.Conv2d(few, mask_channels, 2, 2),
            LayerNorm2d(mask_channels, eps=NORM_EPS),
            nn.GELU(),
            nn.Conv2d(mask_channels, dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)

    def image_positions(self) -> Tensor:
        """Positions of the image embedding, (1, dim, side, side)."""
        return self.positions.grid(self.side)[None]

    def embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """Points (n, k, 2), x before y, and what they stand for (n, k) to (n, k, dim).

        Where the label is -1 a vector that means "no point" is there *instead* of the position.
        """
        embeddings = cast("Iterable[nn.Embedding]", self.point_embeddings)
        kinds = torch.cat([kind.weight for kind in embeddings])  # (4, dim)
        known = self.positions((points + 0.5) / self.frame) + kinds[labels.clamp(min=0)]
        return torch.where((labels == NO_POINT)[..., None], self.not_a_point_embed.weight, known)

    def forward(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Prompt:
        """Prompts of n masks; whichever is None is not given.

        Args:
            points: (n, k, 2), x and y in pixels. Without boxes a point labelled -1 is appended.
            labels: integers (n, k): 1 what is meant, 0 what is not, -1 no point (to have as many
                in every row); 2 and 3, the corners of a box given as points.
            boxes: (n, 4), left, top, right and bottom in pixels; two tokens each, after the
                points'.
            masks: logits (n, 1, 4 side, 4 side), such as an answer before.

        Raises:
            ValueError: points without labels or the other way round, or shapes that do not fit.
        """
        given = self._check(points, labels, boxes, masks)
        n = len(given[0]) if given else 1
        weight = self.no_mask_embed.weight
        sparse = [weight.new_zeros(n, 0, self.dim)]
        if points is not None and labels is not None:
            labels = labels.long()
            if boxes is None:
                points = torch.cat([points, points.new_zeros(n, 1, 2)], dim=1)
                labels = torch.cat([labels, labels.new_full((n, 1), NO_POINT)], dim=1)
            sparse.append(self.embed_points(points, labels))
        if boxes is not None:
            corners = torch.tensor(CORNERS, device=boxes.device).expand(n, 2)
            sparse.append(self.embed_points(boxes.view(n, 2, 2), corners))
        if masks is not None:
            dense = self.mask_downscaling(masks)
        else:
            dense = weight.view(1, -1, 1, 1).repeat(n, 1, self.side, self.side)
        return Prompt(torch.cat(sparse, dim=1), dense)

    def _check(
        self,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> list[Tensor]:
        if (points is None) != (labels is None):
            raise ValueError("points and labels belong together; only one of them is given")
        if points is not None and labels is not None and points.shape != (*labels.shape, 2):
            raise ValueError(
                f"points has shape {tuple(points.shape)} and labels {tuple(labels.shape)}; "
                "they must be (n, k, 2) and (n, k)"
            )
        if boxes is not None and (boxes.ndim != 2 or boxes.shape[1] != 4):
            raise ValueError(f"boxes has shape {tuple(boxes.shape)}; expected (n, 4)")
        side = 4 * self.side
        if masks is not None and masks.shape[1:] != (1, side, side):
            raise ValueError(
                f"masks has shape {tuple(masks.shape)}; expected (n, 1, {side}, {side})"
            )
        given = [part for part in (points, boxes, masks) if part is not None]
        if len({len(part) for part in given}) > 1:
            raise ValueError(
                "points, boxes and masks must be of equally many prompts, not "
                + ", ".join(str(len(part)) for part in given)
            )
        return given
