"""Contrastive losses: two views of an image, an image and its caption, and harder negatives.

Features come as the networks give them, (batch, dim); every loss normalises them to length 1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_LOG_SCALE = math.log(100)


def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.1) -> Tensor:
    """Mean loss over the 2 N views (T. Chen et al., SimCLR, ICML 2020, equation 1).

    `z1`, `z2` are two views of the same N images. A view's positive is the other view of its
    image, its negatives are the 2 N - 2 views of other images. (The published TensorFlow code adds
    the means of the two halves, which is twice this value.)
    """
    z = F.normalize(torch.cat([z1, z2]), dim=-1)  # (2 N, dim)
    logits = z @ z.T / temperature  # (2 N, 2 N)
    logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    partner = torch.arange(len(z), device=z.device).roll(len(z1))
    return F.cross_entropy(logits, partner)


def clip_logits(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Tensor:
    """Cosine of every image with every text, times exp(logit_scale): (images, texts)."""
    images, texts = F.normalize(image_features, dim=-1), F.normalize(text_features, dim=-1)
    return logit_scale.exp() * images @ texts.T


def clip_loss(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's loss (its figure 3): mean of the cross-entropies of rows and of columns."""
    logits = clip_logits(image_features, text_features, logit_scale)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def hard_negative_loss(
    image_features: Tensor, text_features: Tensor, negative_features: Tensor, logit_scale: Tensor
) -> Tensor:
    """CLIP's loss with a wrong caption of its own for every image among the texts to choose from.

    Images choose among 2 N texts, texts among the N images; a wrong caption chooses nothing
    (M. Yuksekgonul et al., "When and why vision-language models behave like bags-of-words", 2023).
    """
    target = torch.arange(len(image_features), device=image_features.device)
    texts = torch.cat([text_features, negative_features])  # (2 N, dim)
    rows = clip_logits(image_features, texts, logit_scale)  # (N, 2 N)
    columns = rows[:, : len(target)].T  # (N, N)
    return (F.cross_entropy(rows, target) + F.cross_entropy(columns, target)) / 2


@torch.no_grad()
def clamp_scale(logit_scale: nn.Parameter) -> None:
    """Keep exp(logit_scale) between 1 and 100, after every step of the optimiser."""
    logit_scale.clamp_(0, MAX_LOG_SCALE)
