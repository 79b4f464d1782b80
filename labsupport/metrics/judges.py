"""Opinions of a judge network on images: features, and whether every word of a caption is right."""

import torch.nn.functional as F
from torch import Tensor

from labsupport.data.transforms import normalize
from labsupport.models.judges import JudgeNet, judge


def opinion(net: JudgeNet, images: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """What a judge made for `size` pixels sees in images (n, 3, h, w) in [0, 1]: features (n, dim)
    and words (n, kinds). Images of another size are resized (bilinear)."""
    if images.shape[-1] != size:
        images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return judge(net, normalize(images))


def share_right(words: Tensor, attributes: Tensor) -> float:
    """Share of images of which every word (n, kinds) is right, 0 to 1."""
    return (words == attributes).all(dim=1).double().mean().item()
