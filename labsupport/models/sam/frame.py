"""Between the pixels of an image and those of the network: scale, pad, and back.

The longest side of an image is scaled to the network's; below and to the right there are zeros,
put there after the colours are normalised.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet, in 0 to 255

Size = tuple[int, int]  # height, width


def size_in_frame(size: Size, frame: int) -> Size:
    """Height and width of an image whose longest side becomes `frame` pixels."""
    height, width = (int(side * frame / max(size) + 0.5) for side in size)
    return height, width


def fit_image(images: Tensor, side: int) -> Tensor:
    """Images (n, 3, height, width) in 0 to 255 to (n, 3, side, side), as SAM's encoders take them.

    For networks trained on ImageNet's colours; the lab's own small ones are not.
    """
    size = size_in_frame((images.shape[-2], images.shape[-1]), side)
    x = images.float()
    if x.shape[-2:] != size:
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    mean, std = (torch.tensor(values, device=x.device).view(3, 1, 1) for values in (MEAN, STD))
    return F.pad((x - mean) / std, (0, side - size[1], 0, side - size[0]))


def points_in_frame(points: Tensor, size: Size, frame: int) -> Tensor:
    """Points (…, 2), x before y, in pixels of an image, to pixels of the frame.

    Boxes (n, 4) are two points each: `boxes.view(-1, 2, 2)`.
    """
    height, width = size_in_frame(size, frame)
    return points * points.new_tensor([width / size[1], height / size[0]])


def masks_in_image(logits: Tensor, size: Size, frame: int) -> Tensor:
    """Logits (n, candidates, h, w) of a square frame to those of an image, (n, candidates, *size).

    They are enlarged to the frame, what was padding is cut off, and the rest is brought to the
    image's size, bilinear both times. Thresholds come after: a mask enlarged has stairs.
    """
    height, width = size_in_frame(size, frame)
    if logits.shape[-2:] != (frame, frame):
        logits = F.interpolate(logits, (frame, frame), mode="bilinear", align_corners=False)
    logits = logits[..., :height, :width]
    if logits.shape[-2:] != size:
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits
