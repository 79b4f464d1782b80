"""Augmentation: two random views of each image, for contrastive learning without captions.

The augmentations of SimCLR (T. Chen et al., ICML 2020, appendix A) for a batch at once: a random
crop, resized and perhaps mirrored; a change of brightness, contrast and colour; now and then grey.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = (0.299, 0.587, 0.114)  # how bright red, green and blue are to the eye


def random_view(
    images: Tensor, generator: torch.Generator, *, smallest: float = 0.4, colour: float = 0.8
) -> Tensor:
    """One view of each of `images` (batch, 3, height, width) in [0, 1], of the same shape.

    A crop keeps between `smallest` and all of the area; `colour` is the strength of the changes
    of colour, and 0 leaves the colours alone.
    """
    batch = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, generator=generator)

    side = uniform(smallest, 1).sqrt()  # of the crop, as a share of the image's
    mirror = 1 - 2 * (uniform(0, 1) < 0.5).float()
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = side * mirror, side
    theta[:, 0, 2], theta[:, 1, 2] = ((1 - side) * uniform(-1, 1) for _ in range(2))
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    x = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if colour:
        column = (batch, 1, 1, 1)
        x = x * uniform(1 - colour / 2, 1 + colour / 2).view(column)  # brightness
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = mean + (x - mean) * uniform(1 - colour / 2, 1 + colour / 2).view(column)  # contrast
        grey = (x * x.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
        x = grey + (x - grey) * uniform(1 - colour, 1 + colour).view(column)  # saturation
        shift = colour / 4 * (2 * torch.rand(batch, 3, 1, 1, generator=generator) - 1)
        x = x + shift * x  # each channel a little stronger or weaker: another hue
        x = torch.where((uniform(0, 1) < 0.2).view(column), grey.expand_as(x), x)
    return x.clamp(0, 1)


def two_views(
    images: Tensor, generator: torch.Generator, **changes: float
) -> tuple[Tensor, Tensor]:
    """Two views of each image, drawn one independently of the other."""
    return random_view(images, generator, **changes), random_view(images, generator, **changes)
