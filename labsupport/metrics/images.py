"""How well images are rebuilt: PSNR and SSIM."""

import torch
from torch import Tensor

CHUNK = 250  # images at a time: bounds the memory, changes no result


def psnr(made: Tensor, images: Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of images (n, 3, h, w) in [0, 1], all three colours."""
    error = (made - images).square().mean(dim=(1, 2, 3))
    return (-10 * error.clamp(min=1e-12).log10()).mean().item()


def ssim(made: Tensor, images: Tensor) -> float:
    """Mean structural similarity (Z. Wang et al., 2004) of images (n, 3, h, w) in [0, 1]."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    parts = [
        structural_similarity_index_measure(one, other, data_range=1.0, reduction="none")
        for one, other in zip(made.split(CHUNK), images.split(CHUNK), strict=True)
    ]
    return torch.cat(parts).mean().item()
