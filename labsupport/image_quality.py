"""How well images are rebuilt, in numbers: PSNR, SSIM, and what a judge network makes of them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.models.judges import JudgeNet, judge
from labsupport.training import normalize

CHUNK = 250  # images at a time: bounds the memory, changes no result


@torch.no_grad()
def in_parts(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`function` of a few hundred images at a time, put together again."""
    return torch.cat([function(part) for part in images.split(CHUNK)])


def to_unit(images: Tensor) -> Tensor:
    """Images as a decoder gives them, around [-1, 1], to [0, 1]."""
    return (images / 2 + 0.5).clamp(0, 1)


def psnr(made: Tensor, images: Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of images (n, 3, h, w) in [0, 1], all three colours."""
    error = (made - images).square().mean(dim=(1, 2, 3))
    return (-10 * error.clamp(min=1e-12).log10()).mean().item()


def ssim(made: Tensor, images: Tensor) -> float:
    """Mean structural similarity (Z. Wang et al., 2004) of images (n, 3, h, w) in [0, 1]."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    parts = [structural_similarity_index_measure(one, other, data_range=1.0, reduction="none")
             for one, other in zip(made.split(CHUNK), images.split(CHUNK), strict=True)]
    return torch.cat(parts).mean().item()


def opinion(net: JudgeNet, images: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """What a judge made for `size` pixels sees in images (n, 3, h, w) in [0, 1]: features (n, dim)
    and words (n, kinds). Images of another size are resized (bilinear)."""
    if images.shape[-1] != size:
        images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return judge(net, normalize(images))


def share_right(words: Tensor, attributes: Tensor) -> float:
    """Share of images of which every word (n, kinds) is right, 0 to 1."""
    return (words == attributes).all(dim=1).double().mean().item()
