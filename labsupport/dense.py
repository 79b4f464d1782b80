"""Dense prediction: how right a map of classes or a larger picture is."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.training import _check_pairs


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 32) -> Tensor:
    """Outputs of `model` for `images` in small batches, in eval mode, which is left as it was."""
    was_training = model.training
    model.eval()
    parts = [model(part) for part in images.split(batch_size)]
    model.train(was_training)
    return torch.cat(parts)


def class_iou(predicted: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Intersection over union of every class, float64 (classes,), over all pixels together.

    `predicted` and `targets` are integers of one shape, below `classes`. NaN where a class is in
    neither. Counted over the whole set, not image by image (M. Everingham et al., "PASCAL VOC").
    """
    if predicted.shape != targets.shape:
        raise ValueError(
            f"predicted has shape {tuple(predicted.shape)} and targets {tuple(targets.shape)}; "
            "they must be equal"
        )
    pairs = targets.flatten() * classes + predicted.flatten()
    counts = torch.bincount(pairs, minlength=classes**2).view(classes, classes).double()
    both = counts.diagonal()
    return both / (counts.sum(0) + counts.sum(1) - both)


def mean_iou(model: nn.Module, images: Tensor, targets: Tensor, classes: int,
             batch_size: int = 32) -> float:
    """Mean over classes of the IoU of `model`'s largest logit, between 0 and 1.

    `images` are what the model takes, `targets` (n, height, width) integers.
    """
    _check_pairs(images, targets)
    total = torch.cat([predict(model, part, batch_size).argmax(1)
                       for part in images.split(batch_size)])
    return class_iou(total, targets, classes).nanmean().item()


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
        _inside(luma(outputs.clamp(0, 1)), border), _inside(luma(targets), border),
        data_range=1.0).item()


def downscale(images: Tensor, scale: int = 2) -> Tensor:
    """Smaller by `scale`: bicubic with antialiasing, the usual way to make low resolution."""
    size = [side // scale for side in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bicubic", align_corners=False,
                         antialias=True).clamp(0, 1)


def _inside(x: Tensor, border: int) -> Tensor:
    return x[..., border:-border, border:-border] if border else x
