"""Heads for the backbone: a classifier, a segmentation head, and super-resolution.

The published code has no super-resolution network; that one is this project's own.
"""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.efficientvit.attention import EfficientViTModule
from labsupport.models.efficientvit.backbone import Backbone, b_backbone, backbone, style_of
from labsupport.models.efficientvit.convolutions import (
    B_SERIES,
    ConvNormAct,
    FusedMBConv,
    MBConv,
    Residual,
    Style,
)

CLASSIFIER_WIDTHS = {
    "B0": (1024, 1280),
    "B1": (1536, 1600),
    "B2": (2304, 2560),
    "B3": (2304, 2560),
    "L1": (3072, 3200),
    "L2": (3072, 3200),
    "L3": (6144, 6400),
}

# dataset -> variant -> (width, depth, expand of its blocks, expand before the last layer or None)
SEGMENTATION_HEADS = {
    "cityscapes": {
        "B0": (32, 1, 4, 4),
        "B1": (64, 3, 4, 4),
        "B2": (96, 3, 4, 4),
        "B3": (128, 3, 4, 4),
        "L1": (256, 3, 1, None),
        "L2": (256, 5, 1, None),
    },
    "ade20k": {
        "B1": (64, 3, 4, None),
        "B2": (96, 3, 4, None),
        "B3": (128, 3, 4, None),
        "L1": (128, 3, 4, 8),
        "L2": (128, 3, 4, 8),
    },
}


class ClassificationHead(nn.Module):
    """Features (batch, dim, height, width) to logits (batch, num_classes)."""

    def __init__(self, dim: int, widths: Sequence[int], num_classes: int, style: Style = B_SERIES):
        super().__init__()
        self.in_conv = ConvNormAct(dim, widths[0], norm=style.norm_eps, act=style.act)
        self.classifier = nn.Sequential(
            nn.Linear(widths[0], widths[1], bias=False),
            nn.LayerNorm(widths[1], eps=style.norm_eps),
            style.act(),
            nn.Linear(widths[1], num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.in_conv(x).mean(dim=(2, 3)))


class SegmentationHead(nn.Module):
    """Three stages, finest first, to logits (batch, num_classes, height, width) of the finest.

    Each stage goes through a 1x1 convolution with norm, is enlarged to the finest by bicubic
    interpolation and added; `depth` residual blocks and a 1x1 classifier follow. `expand` is of
    the blocks; `final_expand` widens once more before the classifier (None: not).
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        num_classes: int,
        depth: int = 1,
        expand: float = 4,
        final_expand: float | None = None,
        fused: bool = False,
        style: Style = B_SERIES,
    ):
        super().__init__()
        block = FusedMBConv if fused else MBConv
        self.inputs = nn.ModuleList(ConvNormAct(c, width, norm=style.norm_eps) for c in channels)
        self.middle = nn.Sequential(
            *(Residual(block(width, width, expand=expand, style=style)) for _ in range(depth))
        )
        wide = round(width * (final_expand or 1))
        self.widen: nn.Module = nn.Identity()
        if final_expand:
            self.widen = ConvNormAct(width, wide, norm=style.norm_eps, act=style.act)
        self.output = nn.Conv2d(wide, num_classes, 1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        size = stages[0].shape[-2:]
        x = 0
        for reduce, stage in zip(self.inputs, stages, strict=True):
            y = reduce(stage)
            if y.shape[-2:] != size:
                y = F.interpolate(y, size=size, mode="bicubic", align_corners=False)
            x = x + y
        return self.output(self.widen(self.middle(x)))


class Classifier(nn.Module):
    """Images (batch, 3, height, width) to logits (batch, num_classes)."""

    def __init__(self, body: Backbone, head: ClassificationHead):
        super().__init__()
        self.backbone, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[-1])


class Segmenter(nn.Module):
    """Images (batch, 3, height, width) to logits (batch, num_classes, height, width).

    The head answers at the resolution of the third stage from the end; the logits are enlarged to
    the image by bicubic interpolation, unless `enlarge` is false (the published MACs leave it
    out, and it has none).
    """

    def __init__(self, body: nn.Module, head: nn.Module, enlarge: bool = True):
        super().__init__()
        self.backbone, self.head, self.enlarge = body, head, enlarge

    def forward(self, images: Tensor) -> Tensor:
        logits = self.head(self.backbone(images)[-3:])
        if not self.enlarge:
            return logits
        return F.interpolate(logits, size=images.shape[-2:], mode="bicubic", align_corners=False)


class SuperResolution(nn.Module):
    """Images (batch, 3, height, width) in [0, 1] to `scale` times the height and width.

    A 3x3 convolution, `depth` EfficientViT modules at full resolution, a 3x3 convolution to
    3·scale² channels that a pixel shuffle turns into pixels, added to the bicubic enlargement.
    The last convolution starts at zero, so an untrained network is bicubic interpolation.
    """

    def __init__(self, dim: int = 32, depth: int = 4, head_dim: int = 16, scale: int = 2):
        super().__init__()
        self.scale = scale
        self.shallow = nn.Conv2d(3, dim, 3, padding=1)
        self.body = nn.Sequential(*(EfficientViTModule(dim, head_dim) for _ in range(depth)))
        self.tail = nn.Conv2d(dim, 3 * scale**2, 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        base = F.interpolate(images, scale_factor=self.scale, mode="bicubic", align_corners=False)
        x = self.shallow(images)
        x = x + self.body(x)
        return base + F.pixel_shuffle(self.tail(x), self.scale)


def classifier(name: str, num_classes: int = 1000) -> Classifier:
    """A published classifier, untrained: B0-B3, L1-L3 (there is none of L0)."""
    if name not in CLASSIFIER_WIDTHS:
        raise ValueError(
            f"name={name!r} has no published classifier; choose from {', '.join(CLASSIFIER_WIDTHS)}"
        )
    body = backbone(name)
    return Classifier(
        body,
        ClassificationHead(body.widths[-1], CLASSIFIER_WIDTHS[name], num_classes, style_of(name)),
    )


def small_segmenter(
    context: Callable[[int], nn.Module | None] = lambda dim: None, num_classes: int = 4
) -> Segmenter:
    """The segmentation network of lab 03, untrained: one stage less than B0 has, so that 96
    pixels give attention 12 x 12 and 6 x 6 tokens. `context` is as of `b_backbone`. Trained it is
    `labsupport.models.pretrained("03_efficientvit")`."""
    widths = (16, 32, 48, 64)
    head = SegmentationHead(widths[1:], 32, num_classes)  # first: the order seeds the weights
    return Segmenter(b_backbone(widths, (1, 1, 1, 1), context=context), head)


def segmenter(name: str, dataset: str, enlarge: bool = False) -> Segmenter:
    """A published segmentation network, untrained, for "cityscapes" or "ade20k"."""
    heads = SEGMENTATION_HEADS.get(dataset)
    if heads is None or name not in heads:
        allowed = "; ".join(f"{d}: {', '.join(v)}" for d, v in SEGMENTATION_HEADS.items())
        raise ValueError(f"no published head of {name!r} for {dataset!r}; there are {allowed}")
    body = backbone(name)
    width, depth, expand, final_expand = heads[name]
    head = SegmentationHead(
        body.widths[-3:],
        width,
        {"cityscapes": 19, "ade20k": 150}[dataset],
        depth,
        expand,
        final_expand,
        name.startswith("L"),
        style_of(name),
    )
    return Segmenter(body, head, enlarge)
