"""Measures of dense prediction, lab 03's: maps of classes, and super-resolution.

PSNR and SSIM are those of papers on super-resolution: on the brightness channel, no border.
"""

import torch.nn.functional as F
from torch import Tensor

from labsupport.metrics.images import brightness_psnr as psnr
from labsupport.metrics.images import brightness_ssim as ssim
from labsupport.metrics.segmentation import class_iou, mean_iou
from labsupport.models.apply import predict

__all__ = ["class_iou", "downscale", "mean_iou", "predict", "psnr", "ssim"]


def downscale(images: Tensor, scale: int = 2) -> Tensor:
    """`images` (n, 3, height, width) in [0, 1] smaller by `scale`: bicubic with antialiasing, the
    usual way to make low resolution."""
    size = [side // scale for side in images.shape[-2:]]
    return F.interpolate(
        images, size=size, mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 1)
