"""Quality of rebuilt images: PSNR and SSIM, on all colours or on the brightness alone."""

import torch
from torch import Tensor

PARTS = 250  # images at a time: bounds the memory, changes no result


def psnr(made: Tensor, images: Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of images (n, channels, height, width) in [0, 1]."""
    return psnr_of_each(made, images).mean().item()


def psnr_of_each(made: Tensor, images: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each of `made` (n, channels, height, width) in [0, 1]:
    (n,). Equal images have 120 dB; torchmetrics gives them an infinite one, which has no mean."""
    error = (made - images).square().mean(dim=(1, 2, 3))
    return -10 * error.clamp(min=1e-12).log10()


def ssim(made: Tensor, images: Tensor) -> float:
    """Mean structural similarity (Z. Wang et al., 2004) of images (n, channels, height, width) in
    [0, 1]: a Gaussian window of 11 pixels, as torchmetrics has it."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    found = []
    for one, other in zip(made.split(PARTS), images.split(PARTS), strict=True):
        part = structural_similarity_index_measure(one, other, data_range=1.0, reduction="none")
        assert isinstance(part, Tensor)  # a tuple only where more than the measure is asked for
        found.append(part)
    return torch.cat(found).mean().item()


def brightness(images: Tensor) -> Tensor:
    """Brightness Y (n, 1, height, width) of RGB in [0, 1]: ITU-R BT.601, from 16/255 to 235/255."""
    weights = images.new_tensor([65.481, 128.553, 24.966]) / 255
    return (images * weights[:, None, None]).sum(1, keepdim=True) + 16 / 255


def brightness_psnr(outputs: Tensor, targets: Tensor, border: int = 2) -> float:
    """PSNR of images (n, 3, height, width) in [0, 1] on the brightness channel, without `border`
    pixels at each side, by custom as many as the scale: so papers on super-resolution measure."""
    return psnr(*_bright_insides(outputs, targets, border))


def brightness_ssim(outputs: Tensor, targets: Tensor, border: int = 2) -> float:
    """SSIM on the brightness channel, without `border` pixels; arguments of `brightness_psnr`."""
    return ssim(*_bright_insides(outputs, targets, border))


def _bright_insides(outputs: Tensor, targets: Tensor, border: int) -> tuple[Tensor, Tensor]:
    inside = slice(border, -border or None)
    made, right = brightness(outputs.clamp(0, 1)), brightness(targets)
    return made[..., inside, inside], right[..., inside, inside]
