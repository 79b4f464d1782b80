"""The backbones: B0-B3 for small devices, L0-L3 for GPUs (section 3.2, the published code)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from labsupport.models.efficientvit.attention import EfficientViTModule
from labsupport.models.efficientvit.convolutions import (
    B_SERIES,
    L_SERIES,
    ConvBlock,
    ConvNormAct,
    DSConv,
    FusedMBConv,
    MBConv,
    Residual,
    Style,
)


class Variant(NamedTuple):
    """Channels and depth of the stem and of each stage, channels of a head."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    head_dim: int


VARIANTS = {
    "B0": Variant((8, 16, 32, 64, 128), (1, 2, 2, 2, 2), 16),
    "B1": Variant((16, 32, 64, 128, 256), (1, 2, 3, 3, 4), 16),
    "B2": Variant((24, 48, 96, 192, 384), (1, 3, 4, 4, 6), 32),
    "B3": Variant((32, 64, 128, 256, 512), (1, 4, 6, 6, 9), 32),
    "L0": Variant((32, 64, 128, 256, 512), (1, 1, 1, 4, 4), 32),
    "L1": Variant((32, 64, 128, 256, 512), (1, 1, 1, 6, 6), 32),
    "L2": Variant((32, 64, 128, 256, 512), (1, 2, 2, 8, 8), 32),
    "L3": Variant((64, 128, 256, 512, 1024), (1, 2, 2, 8, 8), 32),
}


class Backbone(nn.Module):
    """Images (batch, in_channels, height, width) to the outputs of every stage, finest first.

    `stem` and each of `stages` halve height and width (odd sides are rounded up).
    """

    def __init__(self, stem: nn.Sequential, stages: Sequence[nn.Sequential], widths: Sequence[int]):
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.widths = list(widths)  # of the stages

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


def b_backbone(
    widths: Sequence[int],
    depths: Sequence[int],
    head_dim: int = 16,
    *,
    in_channels: int = 3,
    context: Callable[[int], nn.Module | None] = lambda dim: None,
) -> Backbone:
    """A backbone of the B series: a stem, stages of MBConv, attention in the last two stages.

    `widths` and `depths` are of the stem and of the stages. An attention stage is one MBConv of
    stride 2 and `depth` EfficientViT modules; another stage is `depth` MBConvs, the first of
    stride 2. `context(dim)` may give another module in the place of the attention.
    """
    stem = nn.Sequential(
        ConvNormAct(in_channels, widths[0], 3, 2, norm=B_SERIES.norm_eps, act=B_SERIES.act),
        *(Residual(DSConv(widths[0])) for _ in range(depths[0])),
    )
    stages = []
    for i in range(1, len(widths)):
        has_attention = i >= len(widths) - 2
        blocks: list[nn.Module] = [MBConv(widths[i - 1], widths[i], 2, fewer_norm=has_attention)]
        if has_attention:
            blocks += [
                EfficientViTModule(widths[i], head_dim, context=context(widths[i]))
                for _ in range(depths[i])
            ]
        else:
            blocks += [Residual(MBConv(widths[i], widths[i])) for _ in range(depths[i] - 1)]
        stages.append(nn.Sequential(*blocks))
    return Backbone(stem, stages, widths[1:])


def l_backbone(widths: Sequence[int], depths: Sequence[int], head_dim: int = 32) -> Backbone:
    """A backbone of the L series: full 3x3 convolutions first, attention in the last stage only.

    Every stage begins with a block of stride 2 that expands four times as much as the others.
    """
    style: Style = L_SERIES
    stem = nn.Sequential(
        ConvNormAct(3, widths[0], 3, 2, norm=style.norm_eps, act=style.act),
        *(Residual(ConvBlock(widths[0], style)) for _ in range(depths[0])),
    )
    stages = []
    for i in range(1, len(widths)):
        before, dim = widths[i - 1], widths[i]
        blocks: list[nn.Module]
        if i <= 2:
            blocks = [FusedMBConv(before, dim, 2, 16, style)]
            blocks += [Residual(FusedMBConv(dim, dim, 1, 4, style)) for _ in range(depths[i])]
        elif i == 3:
            blocks = [MBConv(before, dim, 2, 16, True, style)]
            blocks += [Residual(MBConv(dim, dim, 1, 4, True, style)) for _ in range(depths[i])]
        else:
            blocks = [MBConv(before, dim, 2, 24, True, style)]
            blocks += [EfficientViTModule(dim, head_dim, 6, style=style) for _ in range(depths[i])]
        stages.append(nn.Sequential(*blocks))
    return Backbone(stem, stages, widths[1:])


def backbone(name: str) -> Backbone:
    """A published backbone, untrained: `backbone("B1")`. See `VARIANTS` for the names."""
    if name not in VARIANTS:
        raise ValueError(
            f"name={name!r} is not an EfficientViT variant; choose from {', '.join(VARIANTS)}"
        )
    widths, depths, head_dim = VARIANTS[name]
    return (b_backbone if name.startswith("B") else l_backbone)(widths, depths, head_dim)


def style_of(name: str) -> Style:
    """Activation and norm of a published variant."""
    return B_SERIES if name.startswith("B") else L_SERIES
