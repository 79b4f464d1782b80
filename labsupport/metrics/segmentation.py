"""Segmentation: intersection over union of classes."""

import torch
from torch import Tensor, nn

from labsupport.data.arguments import equally_many
from labsupport.models.apply import in_parts, predict


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


def mean_iou(
    model: nn.Module, images: Tensor, targets: Tensor, classes: int, batch_size: int = 32
) -> float:
    """Mean over classes of the IoU of `model`'s largest logit, between 0 and 1.

    `images` are what the model takes, `targets` (n, height, width) integers.
    """
    equally_many(images=images, targets=targets)
    answers = in_parts(lambda part: predict(model, part, batch_size).argmax(1), images, batch_size)
    return class_iou(answers, targets, classes).nanmean().item()
