"""What SAM is trained with: focal and dice of the best candidate, and its IoU (appendix A).

Logits and targets are (…, height, width), targets 0 or 1; losses are one number a mask, (…).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss


class PromptableLoss(NamedTuple):
    """The loss of n prompts.

    Attributes:
        total: one number, to be minimised.
        mask: one number, its part from the chosen masks.
        iou: one number, its part from the predicted IoU.
        chosen: integers (n,), the candidate of each prompt whose mask was nearest.
        true_iou: (n, candidates), what the predicted IoU should have been.
    """

    total: Tensor
    mask: Tensor
    iou: Tensor
    chosen: Tensor
    true_iou: Tensor


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Cross-entropy of every pixel, less of it where the answer is right already; the mean.

    T.-Y. Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017), equation 5.
    """
    return sigmoid_focal_loss(logits, targets.to(logits), alpha, gamma).mean(dim=(-2, -1))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of every pixel, the mean: EfficientViT-SAM's in the place of the focal loss."""
    loss = F.binary_cross_entropy_with_logits(logits, targets.to(logits), reduction="none")
    return loss.mean(dim=(-2, -1))


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - (2 Σ p·t + 1) / (Σ p + Σ t + 1), p the sigmoid of the logits.

    F. Milletari et al., "V-Net" (3DV 2016), without its squares and with 1 added to both, as in
    DETR's code, which SAM's loss is after.
    """
    p, t = logits.sigmoid(), targets.to(logits)
    both, each = (p * t).sum(dim=(-2, -1)), (p + t).sum(dim=(-2, -1))
    return 1 - (2 * both + 1) / (each + 1)


@torch.no_grad()
def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of the masks (logits above 0) with the targets; 0 of two empty."""
    mask, target = logits > 0, targets > 0.5
    both = (mask & target).sum(dim=(-2, -1))
    either = (mask | target).sum(dim=(-2, -1))
    return both / either.clamp(min=1)


def promptable_loss(
    logits: Tensor,
    scores: Tensor,
    targets: Tensor,
    *,
    pixel_loss: Callable[[Tensor, Tensor], Tensor] = focal_loss,
    weights: tuple[float, float, float] = (20.0, 1.0, 1.0),
    every_score: bool = False,
) -> PromptableLoss:
    """The loss of n ambiguous prompts, whose candidates are judged by the best of them.

    Args:
        logits: (n, candidates, height, width); one candidate is a loss without a choice.
        scores: (n, candidates), the predicted IoU.
        targets: (n, height, width), the one mask of each prompt that was meant.
        pixel_loss: `focal_loss`, or `cross_entropy` as EfficientViT-SAM has it. That one's
            trainer also draws 112² pixels of each mask, and has no loss of the IoU: weights
            (20, 1, 0).
        weights: of the pixel loss, the dice loss and the squared error of the predicted IoU.
        every_score: the predicted IoU of every candidate learns, each from its own mask, as SAM 2
            is trained; else only the chosen one's, as SAM was by what SAM 2's code says of it.

    Of the masks only the chosen one, with the lowest 20 · focal + dice, gets a gradient. Raises
    ValueError for shapes that do not fit.
    """
    n, candidates = scores.shape
    if logits.shape[:2] != scores.shape or targets.shape != (n, *logits.shape[2:]):
        raise ValueError(
            f"logits {tuple(logits.shape)}, scores {tuple(scores.shape)} and targets "
            f"{tuple(targets.shape)} must be (n, m, h, w), (n, m) and (n, h, w)"
        )
    goal = targets[:, None].expand_as(logits)
    each = weights[0] * pixel_loss(logits, goal) + weights[1] * dice_loss(logits, goal)
    lowest, chosen = each.min(dim=1)
    true_iou = mask_iou(logits, goal)
    error = (scores - true_iou).square()
    if not every_score:
        error = error.gather(1, chosen[:, None])
    mask, iou = lowest.mean(), weights[2] * error.mean()
    return PromptableLoss(mask + iou, mask, iou, chosen, true_iou)
