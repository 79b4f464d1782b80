"""Ranges of pixel values: as images are drawn, [0, 1], and as networks take them, [-1, 1]."""

from torch import Tensor


def normalize(images: Tensor) -> Tensor:
    """Images with values in [0, 1], any shape, to [-1, 1]: what the labs' classifiers are trained
    on, as the original ViT is. Left uncentred, they learn far more slowly."""
    return images * 2 - 1


def to_unit(images: Tensor) -> Tensor:
    """Images as a decoder gives them, around [-1, 1], to [0, 1]."""
    return (images / 2 + 0.5).clamp(0, 1)
