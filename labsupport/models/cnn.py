"""A plain convolutional network: the comparison for the Vision Transformer in lab 01.

No system of its own: five 3x3 convolutions with batch normalisation (S. Ioffe and C. Szegedy,
2015), a mean over the image and a linear layer. Its width is free, so that it can be given the
same number of parameters as any ViT.
"""

from collections.abc import Sequence

from torch import Tensor, nn

WIDTHS = (1, 2, 4, 8, 8)  # channels of each layer, in units of the first layer's
STRIDES = (1, 2, 2, 2, 1)
TOLERANCE = 0.02  # how far from its budget `cnn_with_parameters` may end


class PlainCNN(nn.Module):
    """Images (batch, in_channels, height, width) to logits (batch, num_classes).

    `channels` are the output channels of the five convolutions. Height and width are divided
    by eight on the way, then averaged away.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, in_channels: int = 3):
        super().__init__()
        if len(channels) != len(STRIDES) or min(channels) < 1:
            raise ValueError(f"channels={list(channels)} must be {len(STRIDES)} positive integers")
        self.channels = list(channels)
        layers = []
        widths = [in_channels, *channels]
        for inputs, outputs, stride in zip(widths[:-1], widths[1:], STRIDES, strict=True):
            # Batch normalisation subtracts the mean, so a bias before it would do nothing
            layers += [
                nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(images)  # (batch, channels[-1], height / 8, width / 8)
        x = x.mean(dim=(2, 3))  # (batch, channels[-1])
        return self.head(x)  # (batch, num_classes)


def _channels(width: float) -> list[int]:
    """Channels for a first layer of `width`; a fraction still moves the wider layers."""
    return [max(1, round(width * factor)) for factor in WIDTHS]


def cnn_parameter_count(channels: Sequence[int], num_classes: int, in_channels: int = 3) -> int:
    """Parameters of a `PlainCNN` by formula."""
    inputs = [in_channels, *channels[:-1]]
    convolutions = sum(9 * i * o for i, o in zip(inputs, channels, strict=True))
    norms = 2 * sum(channels)  # a scale and a shift a channel
    return convolutions + norms + (channels[-1] + 1) * num_classes


def cnn_with_parameters(budget: int, num_classes: int, in_channels: int = 3) -> PlainCNN:
    """The `PlainCNN` whose parameter count is nearest to `budget`, within 2%.

    Raises ValueError when no width comes that near; below about 20,000 parameters, where one
    channel more is a large step, some budgets have none.
    """

    def count(width: float) -> int:
        return cnn_parameter_count(_channels(width), num_classes, in_channels)

    low, high = 0.0, 1.0
    while count(high) < budget:
        high *= 2
    for _ in range(40):  # the count grows with the width, so bisection finds the step next to it
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) < budget else (low, middle)
    width = min(low, high, key=lambda w: abs(count(w) - budget))
    if abs(count(width) - budget) > TOLERANCE * budget:
        raise ValueError(
            f"budget={budget} cannot be met within {TOLERANCE:.0%}: the nearest CNN for "
            f"num_classes={num_classes} has {count(width)} parameters"
        )
    return PlainCNN(_channels(width), num_classes, in_channels)
