"""Sizes: the published ones where they are known, and those of the lab's small model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from labsupport.models.vilau.words import VOCABULARY


@dataclass(frozen=True)
class SiglipConfig:
    """An image encoder of SigLIP.

    image_size, patch_size: sides in pixels. dim, depth, heads: of its tokens, blocks, attention.
    hidden: channels in the MLP of a block.
    """

    image_size: int
    patch_size: int
    dim: int
    depth: int
    heads: int
    hidden: int


@dataclass(frozen=True)
class TowerConfig:
    """A small tower of convolutions, those of lab 08's tokenizer.

    size: side of an image in pixels. side: of its map of tokens. dim: numbers a token. codes,
    depth: of the quantizer, one codebook and D codes a token. least: see its codebook; a batch of
    the lab has two vectors for every code. widths, blocks: channels and blocks of encoder and
    decoder. aligned: whether captions are learned from too. width, heads: of what
    reads the quantized tokens for that, and of the text encoder. embed_dim: of the vectors of image
    and caption that are compared.
    """

    size: int = 48
    side: int = 6
    dim: int = 32
    codes: int = 512
    depth: int = 4
    least: float = 0.25
    widths: tuple[int, int, int] = (16, 64, 152)
    blocks: int = 2
    aligned: bool = True
    width: int = 64
    heads: int = 4
    embed_dim: int = 64


@dataclass(frozen=True)
class TrunkConfig:
    """The language model, with Llama's blocks.

    vocabulary: words. dim, depth, heads: of its tokens, blocks, attention. hidden: channels of a
    SwiGLU. eps: of the norms.
    """

    vocabulary: int
    dim: int
    depth: int
    heads: int
    hidden: int
    eps: float = 1e-5


@dataclass(frozen=True)
class DepthConfig:
    """The depth transformer; as it stands, of the size that the published class has by default.
    That of the published weights is not in the repository.

    hidden: of the trunk's states that it starts from. code_dim, codes, steps: of the quantizer, D
    steps a place. dim, depth, heads: its own. head: "linear", or "codebook" as HART's small one
    (`labsupport.models.hart.heads`). dropout: in training, behind attention and MLP.
    """

    hidden: int = 4096
    code_dim: int = 1024
    codes: int = 16_384
    steps: int = 4
    dim: int = 2560
    depth: int = 6
    heads: int = 40
    head: str = "linear"
    dropout: float = 0.1


@dataclass(frozen=True)
class VilaUConfig:
    """The lab's model: tower, language model, depth transformer."""

    tower: TowerConfig = field(default_factory=TowerConfig)
    trunk: TrunkConfig = field(
        default_factory=lambda: TrunkConfig(len(VOCABULARY), dim=128, depth=6, heads=4, hidden=352)
    )
    depth: DepthConfig = field(
        default_factory=lambda: DepthConfig(
            hidden=128, code_dim=32, codes=512, steps=4, dim=128, depth=2, heads=4, dropout=0.0
        )
    )


# X. Zhai et al. (ICCV 2023): those behind VILA-U at 256 pixels, 4 codes at each of 16 x 16 places,
# and at 384 pixels, 16 codes at each of 27 x 27
SIGLIP_SIZES: Mapping[str, SiglipConfig] = {
    "large_256": SiglipConfig(256, 16, 1024, 24, 16, 4096),
    "so400m_384": SiglipConfig(384, 14, 1152, 27, 16, 4304),
}
# H. Touvron et al., "Llama 2" (2023); VILA-U adds words for the beginning and end of images
LLAMA_2_7B = TrunkConfig(vocabulary=32_000, dim=4096, depth=32, heads=32, hidden=11_008)
DEPTH_SIZES: Mapping[str, DepthConfig] = {
    "2560_6": DepthConfig(),
    "1024_6": DepthConfig(dim=1024, heads=16),
    "1024_4": DepthConfig(dim=1024, heads=16, depth=4),
}
