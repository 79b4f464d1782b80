"""Everything in an image: a grid of clicks, and what of their masks is worth keeping (section 5).

The published automatic mask generator, without crops; defaults are its own.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes, nms

from labsupport.models.sam.frame import masks_in_image
from labsupport.models.sam.model import Sam


class Segments(NamedTuple):
    """Masks found in one image, the best-scored first.

    Attributes:
        masks: bool (masks, height, width).
        scores: (masks,), the predicted IoU.
        stability: (masks,), see `stability_score`.
        boxes: (masks, 4), left, top, right and bottom pixel, all of them inside.
        points: (masks, 2), x and y of the click that found it, in pixels.
    """

    masks: Tensor
    scores: Tensor
    stability: Tensor
    boxes: Tensor
    points: Tensor

    def keep(self, which: Tensor) -> "Segments":
        """Those that `which` says, indices or booleans."""
        return Segments(*(part[which] for part in self))


def point_grid(side: int) -> Tensor:
    """Centres of side x side cells of the unit square, (side², 2), x before y, row by row."""
    centres = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def stability_score(logits: Tensor, offset: float = 1.0) -> Tensor:
    """How little a mask depends on its threshold: (…, height, width) to (…), from 0 to 1.

    The IoU of the masks above `offset` and above -`offset`; the first lies in the second, so it
    is a ratio of areas. NaN where even the second is empty.
    """
    inner, outer = (logits > offset).sum(dim=(-2, -1)), (logits > -offset).sum(dim=(-2, -1))
    return inner / outer


def near_crop_edge(
    boxes: Tensor, crop: tuple[int, int, int, int], image: tuple[int, int], tolerance: float = 20
) -> Tensor:
    """Which boxes (n, 4) come near an edge of the crop that is no edge of the image: bool (n,).

    Such a thing probably goes on beyond the crop. `boxes` are in pixels of the image, `crop` is
    (left, top, right, bottom), `image` (height, width), `tolerance` in pixels.
    """
    edges = boxes.new_tensor(crop)
    ends = boxes.new_tensor((0, 0, image[1], image[0]))
    near, end = (boxes - edges).abs() <= tolerance, (boxes - ends).abs() <= tolerance
    return (near & ~end).any(dim=1)


@torch.no_grad()
def segment_everything(
    model: Sam,
    images: Tensor,
    *,
    grid: int = 32,
    min_score: float = 0.88,
    min_stability: float = 0.95,
    offset: float = 1.0,
    max_overlap: float = 0.7,
    at_once: int = 64,
) -> Segments:
    """Masks of all that a grid of clicks finds in one image.

    Args:
        model: in eval mode.
        images: (1, 3, side, side), one, as the model's encoder takes it.
        grid: clicks along a side.
        min_score: masks whose predicted IoU is not above this are dropped.
        min_stability: so are masks whose stability score is below this,
        offset: taken this far from the threshold, in logits.
        max_overlap: of two masks whose boxes have a larger IoU the one scored lower is dropped.
        at_once: clicks decoded together; changes memory, not the result.

    Returns:
        Segments in pixels of the frame.

    Raises:
        ValueError: more than one image.
    """
    if len(images) != 1:
        raise ValueError(f"images has {len(images)} images; one at a time, (1, 3, side, side)")
    embedding = model.embed(images)
    found = [
        _of_clicks(model, embedding, points, min_score, min_stability, offset)
        for points in (point_grid(grid).to(images) * model.frame).split(at_once)
    ]
    all_of = Segments(*(torch.cat(parts) for parts in zip(*found, strict=True)))
    return all_of.keep(nms(all_of.boxes, all_of.scores, max_overlap))


def _of_clicks(
    model: Sam,
    embedding: Tensor,
    points: Tensor,
    min_score: float,
    min_stability: float,
    offset: float,
) -> Segments:
    """What clicks (n, 2) find: up to three masks each."""
    labels = torch.ones(len(points), 1, dtype=torch.long, device=points.device)
    low, scores = model.decode(embedding, points[:, None], labels)
    good = scores > min_score
    size = (model.frame, model.frame)
    logits = masks_in_image(low[good][None], size, model.frame)[0]
    stability = stability_score(logits, offset)
    masks = logits > 0
    # a mask without pixels has no box; the published code gives it one of size 0 and keeps it
    stable = (stability >= min_stability) & masks.any(dim=(-2, -1))
    clicked = points[:, None].expand(-1, scores.shape[1], -1)[good]
    masks = masks[stable]
    boxes = masks_to_boxes(masks) if len(masks) else points.new_zeros(0, 4)
    return Segments(masks, scores[good][stable], stability[stable], boxes, clicked[stable])
