"""The convolutional blocks of EfficientViT; all take and give (batch, channels, height, width)."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn


class Style(NamedTuple):
    """What a series has in common: its activation (a class or partial) and the eps of its norms."""

    act: Callable[[], nn.Module]
    norm_eps: float


B_SERIES = Style(partial(nn.Hardswish, inplace=True), 1e-5)
L_SERIES = Style(partial(nn.GELU, approximate="tanh"), 1e-7)


class ConvNormAct(nn.Module):
    """Convolution that keeps the size (at stride 1), then batch norm and activation if asked for.

    `norm` is the eps of the batch norm, None for none; `act` makes the activation, None for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        norm: float | None = None,
        act: Callable[[], nn.Module] | None = None,
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=groups,
            bias=bias,
        )
        self.norm = nn.Identity() if norm is None else nn.BatchNorm2d(out_channels, eps=norm)
        self.act = act() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Residual(nn.Module):
    """x + main(x), with nothing after the addition."""

    def __init__(self, main: nn.Module):
        super().__init__()
        self.main = main

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + x


class DSConv(nn.Module):
    """Depthwise 3x3, then 1x1: the residual block of the B series' stem."""

    def __init__(self, channels: int, style: Style = B_SERIES):
        super().__init__()
        self.depth_conv = ConvNormAct(
            channels, channels, 3, groups=channels, norm=style.norm_eps, act=style.act
        )
        self.point_conv = ConvNormAct(channels, channels, norm=style.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.depth_conv(x))


class ConvBlock(nn.Module):
    """Two full 3x3 convolutions: the residual block of the L series' stem."""

    def __init__(self, channels: int, style: Style = L_SERIES):
        super().__init__()
        self.conv1 = ConvNormAct(channels, channels, 3, norm=style.norm_eps, act=style.act)
        self.conv2 = ConvNormAct(channels, channels, 3, norm=style.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class MBConv(nn.Module):
    """Inverted bottleneck: 1x1 to `expand` times the channels, depthwise 3x3, 1x1 back.

    `fewer_norm` is the form used beside attention: the first two convolutions have a bias and no
    norm. The last one never has an activation. After M. Sandler et al., "MobileNetV2" (2018).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        expand: float = 4,
        fewer_norm: bool = False,
        style: Style = B_SERIES,
    ):
        super().__init__()
        hidden = round(in_channels * expand)
        norm = None if fewer_norm else style.norm_eps
        self.inverted_conv = ConvNormAct(
            in_channels, hidden, bias=fewer_norm, norm=norm, act=style.act
        )
        self.depth_conv = ConvNormAct(
            hidden, hidden, 3, stride, hidden, bias=fewer_norm, norm=norm, act=style.act
        )
        self.point_conv = ConvNormAct(hidden, out_channels, norm=style.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.depth_conv(self.inverted_conv(x)))


class FusedMBConv(nn.Module):
    """MBConv whose first two convolutions are one full 3x3: more MACs, better use of a GPU.

    After S. Gupta and B. Akin (2020), the block of EfficientNetV2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        expand: float = 4,
        style: Style = L_SERIES,
    ):
        super().__init__()
        hidden = round(in_channels * expand)
        self.spatial_conv = ConvNormAct(
            in_channels, hidden, 3, stride, norm=style.norm_eps, act=style.act
        )
        self.point_conv = ConvNormAct(hidden, out_channels, norm=style.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.spatial_conv(x))
