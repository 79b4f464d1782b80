"""Accuracy of classifiers."""

import torch
from torch import Tensor, nn

from labsupport.data.arguments import equally_many


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 256) -> float:
    """Share of `images` (n, channels, height, width) whose largest logit is at `labels` (n,);
    between 0 and 1. Runs in eval mode, and leaves the model in the mode it was in."""
    equally_many(images=images, labels=labels)
    device = next(model.parameters(), images).device
    was_training = model.training
    model.eval()
    correct = 0
    for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        correct += (model(x.to(device)).argmax(dim=-1) == y.to(device)).sum().item()
    model.train(was_training)
    return correct / len(labels)
