"""Measures of rebuilt images, for lab 08: how near they are, and what a judge sees in them."""

from labsupport.data.transforms import to_unit
from labsupport.metrics.images import psnr, ssim
from labsupport.metrics.judges import opinion, share_right
from labsupport.models.apply import in_parts

__all__ = ["in_parts", "opinion", "psnr", "share_right", "ssim", "to_unit"]
