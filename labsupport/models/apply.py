"""A network applied to many inputs, a batch at a time."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


@torch.no_grad()
def in_parts(function: Callable[[Tensor], Tensor], values: Tensor, batch_size: int = 250) -> Tensor:
    """`function` of `values` (n, ...), `batch_size` of them at a time, put together again; without
    gradients. It bounds the memory and changes no result."""
    return torch.cat([function(part) for part in values.split(batch_size)])


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 32) -> Tensor:
    """Outputs of `model` for `images` in small batches, in eval mode, which is left as it was."""
    was_training = model.training
    model.eval()
    outputs = in_parts(model, images, batch_size)
    model.train(was_training)
    return outputs
