"""Classification: the accuracy of a model."""

from torch import Tensor, nn

from labsupport.data.arguments import equally_many
from labsupport.models.apply import in_parts


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 256) -> float:
    """Share of `images` (n, channels, height, width) whose largest logit is at `labels` (n,);
    between 0 and 1. Runs in eval mode, and leaves the model in the mode it was in."""
    equally_many(images=images, labels=labels)
    device = next(model.parameters(), images).device
    was_training = model.training
    model.eval()
    answers = in_parts(lambda part: model(part.to(device)).argmax(dim=-1), images, batch_size)
    model.train(was_training)
    return int((answers == labels.to(device)).sum()) / len(labels)
