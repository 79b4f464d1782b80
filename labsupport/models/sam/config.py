"""Sizes: the published ones, and a small pair for images of 64 x 64 pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class ViTConfig:
    """The image encoder of SAM: a ViT whose blocks attend in windows, but for a few.

    Attributes:
        image_size: side of the images it takes, in pixels.
        dim, depth, heads: of its tokens, its blocks, their attention.
        global_blocks: numbers of the blocks in which every token sees every other.
        patch_size: side of a patch in pixels.
        window: side of a window in tokens.
    """

    image_size: int
    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    patch_size: int = 16
    window: int = 14


@dataclass(frozen=True)
class EfficientViTConfig:
    """The image encoder of EfficientViT-SAM: a backbone, and a neck over its last three stages.

    Attributes:
        image_size: side of the images it takes, in pixels; the frame of the prompts may be larger.
        widths, depths: channels and blocks of the stem and of every stage.
        kinds: blocks of every stage, "fmb", "mb" or "att"; without, it is a backbone of the B
            series.
        expands: of the blocks of every stage; its first block, of stride 2, expands four times as
            much.
        scale: side of the neighbourhoods in multi-scale attention.
        head_dim: channels of a head.
        neck_width, neck_depth, neck_expand: of the neck's blocks.
    """

    image_size: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kinds: tuple[str, ...] = ("fmb", "fmb", "mb", "att")
    expands: tuple[int, ...] = (4, 4, 4, 6)
    scale: int = 5
    head_dim: int = 32
    neck_width: int = 256
    neck_depth: int = 4
    neck_expand: int = 1


@dataclass(frozen=True)
class DecoderConfig:
    """The mask decoder.

    Attributes:
        dim: channels of prompts and image embeddings.
        heads, depth: of the two-way transformer.
        hidden: of its MLPs.
        iou_hidden: hidden channels of the head that predicts the IoU.
        masks: candidates for an ambiguous prompt; one token more is for the others.
        norm_eps: of its layer norms; SAM has PyTorch's 1e-5, EfficientViT-SAM sets 1e-6.
    """

    dim: int = 256
    heads: int = 8
    depth: int = 2
    hidden: int = 2048
    iou_hidden: int = 256
    masks: int = 3
    norm_eps: float = 1e-5


@dataclass(frozen=True)
class SamConfig:
    """All of a model.

    Attributes:
        encoder: of images.
        decoder: of masks.
        frame: side in pixels of the square in which points and boxes are given.
        embedding: side of the image embedding; masks have four times as much.
        mask_channels: hidden channels that read a mask given as a prompt.
    """

    encoder: ViTConfig | EfficientViTConfig
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    frame: int = 1024
    embedding: int = 64
    mask_channels: int = 16


_EFFICIENT = DecoderConfig(norm_eps=1e-6)
_L = EfficientViTConfig(512, (32, 64, 128, 256, 512), ())
_XL = EfficientViTConfig(
    1024,
    (32, 64, 128, 256, 512, 1024),
    (),
    ("fmb", "fmb", "fmb", "att", "att"),
    (4, 4, 4, 4, 6),
    scale=3,
    neck_expand=4,
)
_SMALL = DecoderConfig(dim=64, heads=4, hidden=128, iou_hidden=64)

# SAM: appendix A of the paper; EfficientViT-SAM: its table 1 and published code
SIZES: Mapping[str, SamConfig] = {
    "vit_b": SamConfig(ViTConfig(1024, 768, 12, 12, (2, 5, 8, 11))),
    "vit_l": SamConfig(ViTConfig(1024, 1024, 24, 16, (5, 11, 17, 23))),
    "vit_h": SamConfig(ViTConfig(1024, 1280, 32, 16, (7, 15, 23, 31))),
    "efficientvit_l0": SamConfig(replace(_L, depths=(1, 1, 1, 4, 4)), _EFFICIENT),
    "efficientvit_l1": SamConfig(replace(_L, depths=(1, 1, 1, 6, 6), neck_depth=8), _EFFICIENT),
    "efficientvit_l2": SamConfig(replace(_L, depths=(1, 2, 2, 8, 8), neck_depth=12), _EFFICIENT),
    "efficientvit_xl0": SamConfig(
        replace(_XL, depths=(0, 1, 1, 2, 3, 3), neck_depth=6), _EFFICIENT
    ),
    "efficientvit_xl1": SamConfig(
        replace(_XL, depths=(1, 2, 2, 4, 6, 6), neck_depth=12), _EFFICIENT
    ),
    "small_vit": SamConfig(
        ViTConfig(64, 64, 3, 4, (2,), patch_size=4, window=6), _SMALL, frame=64, embedding=16
    ),
    "small_efficientvit": SamConfig(
        EfficientViTConfig(
            64, (8, 16, 32, 64), (1, 1, 1, 1), kinds=(), head_dim=16, neck_width=32, neck_depth=1
        ),
        _SMALL,
        frame=64,
        embedding=16,
    ),
}
