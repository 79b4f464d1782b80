"""The Vision Transformer: an image cut into patches, read as a sentence by a transformer encoder.

Follows A. Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021), section 3.1 and
table 1; ViT-Ti and ViT-S are the sizes of H. Touvron et al., "DeiT" (ICML 2021), table 1.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from labsupport.models.layers import (
    MLP,
    check_heads,
    initialise_xavier,
    patches_a_side,
    self_attention,
    split_heads,
)
from labsupport.models.weights import load_renamed

NORM_EPS = 1e-6  # the value of the original implementation; PyTorch's default is 1e-5


class Variant(NamedTuple):
    """Size of one published ViT: token dimension, number of blocks, number of heads."""

    dim: int
    depth: int
    heads: int


VARIANTS = {
    "Ti": Variant(dim=192, depth=12, heads=3),
    "S": Variant(dim=384, depth=12, heads=6),
    "B": Variant(dim=768, depth=12, heads=12),
    "L": Variant(dim=1024, depth=24, heads=16),
    "H": Variant(dim=1280, depth=32, heads=16),
}


class PatchEmbedding(nn.Module):
    """Patches of an image, each mapped linearly to a token (section 3.1, equation 1).

    A convolution with kernel = stride = `patch_size` applies one linear layer to every patch.
    Input (batch, in_channels, image_size, image_size); output (batch, tokens, dim) with
    tokens = (image_size / patch_size)², row by row.
    """

    def __init__(self, image_size: int, patch_size: int, in_channels: int, dim: int):
        super().__init__()
        self.image_size = image_size
        self.patch_size = patch_size
        self.tokens = patches_a_side(image_size, patch_size) ** 2
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        expected = (self.proj.in_channels, self.image_size, self.image_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ValueError(
                f"images has shape {tuple(images.shape)}; expected (batch, "
                f"{', '.join(map(str, expected))})"
            )
        x = self.proj(images)  # (batch, dim, rows, columns)
        return x.flatten(2).transpose(1, 2)  # (batch, tokens, dim)


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention, (batch, tokens, dim) to the same shape (appendix A).

    `qkv` gives queries, keys and values in one matrix product; its output is ordered
    (query | key | value), and each third is `heads` consecutive slices of dim / heads channels.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self_attention(self.qkv(x), self.heads))

    def weights(self, x: Tensor) -> Tensor:
        """Attention weights (batch, heads, query, key) for input `x`; each row sums to 1.

        The fused attention of `forward` never stores them, so they are computed again here.
        """
        q, k, _ = split_heads(self.qkv(x), self.heads)
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # (batch, heads, tokens, tokens)
        return scores.softmax(dim=-1)


class EncoderBlock(nn.Module):
    """Pre-norm encoder block, (batch, tokens, dim) to the same shape (equations 2 and 3)."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float = 4):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = MultiHeadAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """ViT classifier (section 3.1): images (batch, in_channels, image_size, image_size) to
    logits (batch, num_classes), read from the class token. The defaults are ViT-B/16."""

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        num_classes: int = 1000,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4,
        in_channels: int = 3,
    ):
        super().__init__()
        self.patch_embed = PatchEmbedding(image_size, patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.patch_embed.tokens + 1, dim))
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.head = nn.Linear(dim, num_classes)
        self.initialise()

    def initialise(self) -> None:
        """Xavier-uniform matrices and zero biases; positions and head normal with std 0.02."""
        initialise_xavier(self)
        nn.init.normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.head.weight, std=0.02)

    def embed(self, images: Tensor) -> Tensor:
        """Class token and patch tokens with their positions, (batch, tokens + 1, dim)."""
        x = self.patch_embed(images)  # (batch, tokens, dim)
        cls_token = self.cls_token.expand(len(x), -1, -1)  # (batch, 1, dim)
        x = torch.cat([cls_token, x], dim=1)  # (batch, tokens + 1, dim)
        return x + self.pos_embed

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])  # (batch, num_classes)

    @torch.no_grad()
    def attention_maps(self, images: Tensor) -> Tensor:
        """Attention weights of every block, (depth, batch, heads, tokens + 1, tokens + 1).

        Dimension -2 is the query and -1 the key; index 0 is the class token, then the patches
        row by row. `attention_maps(x)[-1, 0, h, 0, 1:]` is where the class token looks in head h
        of the last block.
        """
        x = self.embed(images)
        maps = []
        for block in cast("Iterable[EncoderBlock]", self.blocks):
            maps.append(block.attn.weights(block.norm1(x)))
            x = block(x)
        return torch.stack(maps)


def vit(
    name: str, patch_size: int = 16, image_size: int = 224, num_classes: int = 1000
) -> VisionTransformer:
    """A published size, untrained: `vit("B", 16)` is ViT-B/16. See `VARIANTS` for the names."""
    if name not in VARIANTS:
        raise ValueError(f"name={name!r} is not a ViT variant; choose from {', '.join(VARIANTS)}")
    dim, depth, heads = VARIANTS[name]
    return VisionTransformer(image_size, patch_size, num_classes, dim, depth, heads)


def parameter_count(
    dim: int,
    depth: int,
    patch_size: int = 16,
    image_size: int = 224,
    num_classes: int = 1000,
    mlp_ratio: float = 4,
    in_channels: int = 3,
) -> int:
    """Parameters of a `VisionTransformer` by formula; the number of heads does not enter."""
    tokens = (image_size // patch_size) ** 2
    hidden = int(dim * mlp_ratio)
    patch_embed = in_channels * patch_size**2 * dim + dim
    embeddings = dim + (tokens + 1) * dim  # class token, positions
    attention = 4 * (dim * dim + dim)  # query, key, value and output projections
    mlp = dim * hidden + hidden + hidden * dim + dim
    norms = 2 * 2 * dim  # two layer norms, each a scale and a shift
    head = dim * num_classes + num_classes
    return patch_embed + embeddings + depth * (attention + mlp + norms) + 2 * dim + head


TORCHVISION_NAMES = (  # a pattern in torchvision's state dict, what it is here; in this order
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^class_token$", "cls_token"),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.layers\.encoder_layer_", "blocks."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)


def load_torchvision_weights(model: VisionTransformer, state_dict: Mapping[str, Tensor]) -> None:
    """Copy the weights of a torchvision `VisionTransformer` of the same size into `model`.

    Both order the joint projection (query | key | value), so only names change. Raises ValueError
    where a name or a shape does not fit; `model` is then left as it was.
    """
    load_renamed(model, state_dict, TORCHVISION_NAMES)
