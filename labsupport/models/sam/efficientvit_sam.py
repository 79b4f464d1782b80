"""The image encoder of EfficientViT-SAM: a convolutional backbone and a neck (section 3.1).

Z. Zhang et al., "EfficientViT-SAM: Accelerated Segment Anything Model Without Performance Loss"
(2024). Prompt encoder and mask decoder are SAM's own.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.efficientvit.attention import EfficientViTModule, MultiScaleAttention
from labsupport.models.efficientvit.backbone import Backbone, b_backbone
from labsupport.models.efficientvit.convolutions import (
    B_SERIES,
    ConvBlock,
    ConvNormAct,
    FusedMBConv,
    MBConv,
    Residual,
    Style,
)
from labsupport.models.sam.config import EfficientViTConfig
from labsupport.models.sam.image_encoder import NORM_EPS
from labsupport.models.segformer import LayerNorm2d

SAM_SERIES = Style(partial(nn.GELU, approximate="tanh"), NORM_EPS)  # the L series has 1e-7


def large_backbone(config: EfficientViTConfig) -> Backbone:
    """The backbone that `config` says: of the L series, or the larger XL ones.

    XL has a stage more, attention in the last two, and 3 x 3 neighbourhoods in it. Raises
    ValueError where kinds, expands and depths are not of equally many stages.
    """
    widths, depths, style = config.widths, config.depths, SAM_SERIES
    stem = nn.Sequential(
        ConvNormAct(3, widths[0], 3, 2, norm=style.norm_eps, act=style.act),
        *(Residual(ConvBlock(widths[0], style)) for _ in range(depths[0])),
    )
    stages = []
    for before, dim, depth, kind, expand in zip(
        widths[:-1], widths[1:], depths[1:], config.kinds, config.expands, strict=True
    ):
        blocks: list[nn.Module]
        if kind == "fmb":
            blocks = [FusedMBConv(before, dim, 2, 4 * expand, style)]
            blocks += [Residual(FusedMBConv(dim, dim, 1, expand, style)) for _ in range(depth)]
        elif kind == "mb":
            blocks = [MBConv(before, dim, 2, 4 * expand, True, style)]
            blocks += [Residual(MBConv(dim, dim, 1, expand, True, style)) for _ in range(depth)]
        elif kind == "att":
            blocks = [MBConv(before, dim, 2, 4 * expand, True, style)]
            for _ in range(depth):
                context = MultiScaleAttention(dim, config.head_dim, (config.scale,), style=style)
                blocks.append(EfficientViTModule(dim, expand=expand, context=context, style=style))
        else:
            raise ValueError(f"kinds has {kind!r}; there are 'fmb', 'mb' and 'att'")
        stages.append(nn.Sequential(*blocks))
    return Backbone(stem, stages, widths[1:])


class SamNeck(nn.Module):
    """The last three stages, finest first, to one map (batch, dim, side, side) (figure 2).

    Each goes through a 1x1 convolution and is resized to side x side by bicubic interpolation;
    their sum through residual blocks and another 1x1 convolution.
    """

    def __init__(self, config: EfficientViTConfig, dim: int, side: int, style: Style = SAM_SERIES):
        super().__init__()
        width = config.neck_width
        self.side = side
        self.inputs = nn.ModuleList(
            ConvNormAct(channels, width, norm=style.norm_eps) for channels in config.widths[-3:]
        )
        self.middle = nn.Sequential(
            *(
                Residual(FusedMBConv(width, width, expand=config.neck_expand, style=style))
                for _ in range(config.neck_depth)
            )
        )
        self.output = nn.Conv2d(width, dim, 1)

    def resized(self, x: Tensor) -> Tensor:
        """`x` as side x side pixels."""
        size = (self.side, self.side)
        if x.shape[-2:] == size:
            return x
        return F.interpolate(x, size=size, mode="bicubic", align_corners=False)

    def forward(self, stages: list[Tensor]) -> Tensor:
        parts = [
            self.resized(reduce(x)) for reduce, x in zip(self.inputs, stages[-3:], strict=True)
        ]
        return self.output(self.middle(sum(parts[1:], start=parts[0])))


class EfficientViTImageEncoder(nn.Module):
    """Images (batch, 3, height, width) to embeddings (batch, dim, side, side), as SAM's encoder.

    The image may have fewer pixels than the frame of the prompts (L0 to L2: 512 of 1024). It is
    trained to give what SAM's largest encoder gives (distillation), then with the decoder.
    """

    def __init__(self, config: EfficientViTConfig, dim: int = 256, side: int = 64):
        super().__init__()
        if config.kinds:
            self.backbone, style = large_backbone(config), SAM_SERIES
        else:
            self.backbone = b_backbone(config.widths, config.depths, config.head_dim)
            style = B_SERIES
        self.neck = SamNeck(config, dim, side, style)
        self.norm = LayerNorm2d(dim, eps=NORM_EPS)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.neck(self.backbone(images)))
