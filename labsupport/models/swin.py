"""Swin: a transformer in stages, whose attention stays within windows that shift.

Follows Z. Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"
(ICCV 2021), section 3 and its released code. Names of parameters are those of timm.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.layers import MLP
from labsupport.models.weights import Names, load_renamed
from labsupport.models.windows import WindowAttention, shifted_window_attention


class Variant(NamedTuple):
    """Size of one published Swin: channels of the first stage, blocks and heads of each stage."""

    dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]


VARIANTS = {
    "T": Variant(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "S": Variant(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "B": Variant(128, (2, 2, 18, 2), (4, 8, 16, 32)),
}


class PatchEmbedding(nn.Module):
    """Patches to tokens, then a layer norm: (batch, channels, height, width) to (batch, rows,
    columns, dim). Zeros are added below and to the right where patches do not fit.

    Not ViT's, which takes images of one size only and gives a sequence without a norm.
    """

    def __init__(self, patch_size: int, in_channels: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: Tensor) -> Tensor:
        patch = self.proj.kernel_size[0]
        below, right = -images.shape[2] % patch, -images.shape[3] % patch
        if below or right:
            images = F.pad(images, (0, right, 0, below))
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """2 x 2 tokens become one of twice the channels: (batch, rows, columns, dim) to (batch,
    rows / 2, columns / 2, 2 · dim). The four are joined column by column, then mixed."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[1:3]
        if rows % 2 or columns % 2:
            x = F.pad(x, (0, 0, 0, columns % 2, 0, rows % 2))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # (batch, rows, 2, columns, 2, dim)
        return self.reduction(self.norm(x.permute(0, 1, 3, 4, 2, 5).flatten(3)))


class SwinBlock(nn.Module):
    """Pre-norm block with (shifted) window attention, (batch, rows, columns, dim) to the same
    shape (equation 3)."""

    def __init__(self, dim: int, heads: int, window: int = 7, shift: int = 0, mlp_ratio: float = 4):
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + shifted_window_attention(self.norm1(x), self.attn, self.window, self.shift)
        return x + self.mlp(self.norm2(x))


class Stage(nn.Module):
    """Blocks that shift their windows in turn; all stages but the first begin with a merging."""

    def __init__(
        self, dim: int, depth: int, heads: int, window: int, mlp_ratio: float, merge: bool
    ):
        super().__init__()
        self.downsample = PatchMerging(dim // 2) if merge else nn.Identity()
        self.blocks = nn.Sequential(
            *(
                SwinBlock(dim, heads, window, window // 2 if i % 2 else 0, mlp_ratio)
                for i in range(depth)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class Head(nn.Module):
    """The mean of all tokens, mapped to logits: (batch, rows, columns, dim) to (batch, classes)."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.fc = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean(dim=(1, 2)))


class Swin(nn.Module):
    """Swin classifier: images (batch, in_channels, height, width) to logits (batch, num_classes).

    Images may have any size; the published ones are 224 x 224. Defaults are Swin-T.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dim: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 7,
        patch_size: int = 4,
        mlp_ratio: float = 4,
        in_channels: int = 3,
    ):
        super().__init__()
        if len(depths) != len(heads):
            raise ValueError(f"depths={depths} and heads={heads} must have one number a stage each")
        self.patch_embed = PatchEmbedding(patch_size, in_channels, dim)
        self.layers = nn.Sequential(
            *(
                Stage(dim * 2**i, depth, heads[i], window, mlp_ratio, merge=i > 0)
                for i, depth in enumerate(depths)
            )
        )
        last = dim * 2 ** (len(depths) - 1)
        self.norm = nn.LayerNorm(last)
        self.head: nn.Module = Head(last, num_classes)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.patch_embed(images))))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def swin(name: str, num_classes: int = 1000) -> Swin:
    """A published Swin by name: "T", "S" or "B" (table 7 of the paper); 224 x 224, window 7."""
    if name not in VARIANTS:
        raise ValueError(f"name={name!r} is not a Swin variant; choose from {', '.join(VARIANTS)}")
    dim, depths, heads = VARIANTS[name]
    return Swin(num_classes, dim, depths, heads)


def _part(found: re.Match[str]) -> str:
    """torchvision counts in one list: stages have odd numbers, the mergings before them even."""
    stage, is_stage = divmod(int(found[1]), 2)
    return f"layers.{stage}.{'blocks' if is_stage else 'downsample'}."


TORCHVISION_NAMES: Names = (  # a pattern in torchvision's state dict, what it is here; in order
    (r"^features\.0\.0\.", "patch_embed.proj."),
    (r"^features\.0\.2\.", "patch_embed.norm."),
    (r"^features\.(\d+)\.", _part),
    (r"^head\.", "head.fc."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)


def load_torchvision_weights(model: Swin, state_dict: Mapping[str, Tensor]) -> None:
    """Copy the weights of a torchvision `SwinTransformer` of the same size into `model`.

    Only names change. The index of the bias table, which torchvision keeps, follows from the
    window. Raises ValueError where a name or a shape does not fit; `model` is then left as it was.
    """
    index = "relative_position_index"
    weights = {name: value for name, value in state_dict.items() if not name.endswith(index)}
    load_renamed(model, weights, TORCHVISION_NAMES)
