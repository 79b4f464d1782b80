"""Lab 03's measures of dense prediction: maps of classes, and super-resolution.

Papers on super-resolution measure on the brightness channel, without the border.
"""

import torch.nn.functional as F
from torch import Tensor

from labsupport.metrics.segmentation import class_iou, mean_iou
from labsupport.models.apply import predict

__all__ = ["class_iou", "downscale", "luma", "mean_iou", "predict", "psnr", "ssim"]


def luma(images: Tensor) -> Tensor:
    """Brightness Y (n, 1, height, width) of RGB in [0, 1]: ITU-R BT.601, from 16/255 to 235/255.

    Papers on super-resolution measure on this channel.
    """
    weights = images.new_tensor([65.481, 128.553, 24.966]) / 255
    return (images * weights[:, None, None]).sum(1, keepdim=True) + 16 / 255


def psnr(outputs: Tensor, targets: Tensor, border: int = 2) -> float:
    """Mean peak signal-to-noise ratio of images in [0, 1], in dB, on the brightness channel.

    `border` pixels at each side are left out, by custom as many as the scale.
    """
    gap = _inside(luma(outputs.clamp(0, 1)) - luma(targets), border)
    error = gap.square().mean(dim=(1, 2, 3))
    return (-10 * error.clamp(min=1e-12).log10()).mean().item()


def ssim(outputs: Tensor, targets: Tensor, border: int = 2) -> float:
    """Mean structural similarity on the brightness channel (Z. Wang et al., 2004)."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    return structural_similarity_index_measure(
        _inside(luma(outputs.clamp(0, 1)), border), _inside(luma(targets), border), data_range=1.0
    ).item()


def downscale(images: Tensor, scale: int = 2) -> Tensor:
    """Smaller by `scale`: bicubic with antialiasing, the usual way to make low resolution."""
    size = [side // scale for side in images.shape[-2:]]
    return F.interpolate(
        images, size=size, mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 1)


def _inside(x: Tensor, border: int) -> Tensor:
    return x[..., border:-border, border:-border] if border else x
