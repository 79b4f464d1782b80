"""SparseViT: a Swin that computes only the windows that matter and copies the others.

Follows X. Chen et al., "SparseViT: Revisiting Activation Sparsity for Efficient High-Resolution
Vision Transformer" (CVPR 2023), section 3, and its released code. Weights are those of
`labsupport.models.swin`; maps are (batch, rows, columns, channels).

The share of windows that a pair of blocks (regular and shifted) skips is its ratio. A layout gives
every pair of every stage its ratio, `((0.2, 0.4), (0.0, 0.6))`, not decreasing within a stage.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.swin import Stage, Swin, SwinBlock
from labsupport.models.windows import (
    axis_shift,
    pad_to_windows,
    shift_mask,
    window_partition,
    window_reverse,
)

Layout = Sequence[Sequence[float]]


def magnitude(x: Tensor) -> Tensor:
    """The published importance of every token, its mean absolute value: (batch, rows, columns)."""
    return x.abs().mean(-1)


def centred(x: Tensor) -> Tensor:
    """How far every token is from the image's mean token: (batch, rows, columns)."""
    return (x - x.mean(dim=(1, 2), keepdim=True)).abs().mean(-1)


def window_scores(importance: Tensor, window: int, shift: int = 0) -> Tensor:
    """The L2 norm of the importance (batch, rows, columns) over each window: (batch, windows).

    With a shift the windows are those of a shifted block: the map is rolled like the block's.
    """
    x = pad_to_windows(importance[..., None], window)
    moved = _moves(x, window, shift)
    windows = window_partition(x.roll((-moved[0], -moved[1]), (1, 2)), window)
    return windows.flatten(1).norm(dim=1).view(len(x), -1)


def kept(windows: int, ratio: float) -> int:
    """How many of the windows a block computes: ⌊windows · (1 - ratio)⌋, but at least one.

    Raises ValueError for a ratio outside 0 to 1.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio={ratio} must be from 0 (dense) to 1")
    return max(1, int(windows * (1 - ratio) + 1e-9))  # 10 · (1 - 0.8) is 1.9999999999999996


def gather_windows(windows: Tensor, index: Tensor) -> Tensor:
    """Of (batch, windows, ...) those at `index` (batch, k), image by image: (batch, k, ...)."""
    return windows[torch.arange(len(index), device=index.device)[:, None], index]


def scatter_windows(windows: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """A copy of (batch, windows, ...) with `values` (batch, k, ...) at `index` (batch, k)."""
    out = windows.clone()
    out[torch.arange(len(index), device=index.device)[:, None], index] = values
    return out


def sparse_block(block: SwinBlock, x: Tensor, index: Tensor) -> Tensor:
    """`block` for the windows at `index` (batch, k); the others keep what they hold in `x`.

    Everything in a Swin block works within a window, so a window that is left out costs nothing.
    Raises ValueError where the block's window does not divide the map.
    """
    batch, rows, columns, dim = x.shape
    window = block.window
    moved = _moves(x, window, block.shift)
    shifted = x.roll((-moved[0], -moved[1]), (1, 2)) if any(moved) else x
    windows = window_partition(shifted, window).view(batch, -1, window**2, dim)
    mask = None
    if any(moved):  # each kept window has its own rows of the mask
        mask = shift_mask(rows, columns, window, block.shift).to(x)[index].flatten(0, 1)
    some = gather_windows(windows, index).flatten(0, 1)  # (batch · k, window², dim)
    some = some + block.attn(block.norm1(some), mask)
    some = some + block.mlp(block.norm2(some))
    windows = scatter_windows(windows, index, some.view(batch, -1, window**2, dim))
    out = window_reverse(windows.flatten(0, 1), window, rows, columns)
    return out.roll(moved, (1, 2)) if any(moved) else out


def sparse_stage(
    stage: Stage,
    x: Tensor,
    ratios: Sequence[float],
    importance: Callable[[Tensor], Tensor] = magnitude,
) -> Tensor:
    """A stage whose pairs of blocks skip the shares `ratios` of their windows.

    Windows are scored once, at the first pair with a ratio above 0: one map of importance, one
    order of the regular and one of the shifted windows. A later pair keeps the beginning of the
    same lists. Raises ValueError for a wrong number of ratios, or for ratios that fall.
    """
    x = stage.downsample(x)
    pairs = -(-len(stage.blocks) // 2)
    if len(ratios) != pairs:
        raise ValueError(f"ratios={tuple(ratios)} must have one number for each of {pairs} pairs")
    if list(ratios) != sorted(ratios):
        raise ValueError(f"ratios={tuple(ratios)} must not fall: a window once left out stays out")
    orders: dict[int, Tensor] = {}
    scores = None
    for i, block in enumerate(cast("Iterable[SwinBlock]", stage.blocks)):
        ratio = ratios[i // 2]
        if ratio == 0:
            x = block(x)
            continue
        if scores is None:
            scores = importance(x.detach())
        if block.shift not in orders:
            found = window_scores(scores, block.window, block.shift)
            orders[block.shift] = found.argsort(dim=1, descending=True, stable=True)
        order = orders[block.shift]
        x = sparse_block(block, x, order[:, : kept(order.shape[1], ratio)])
    return x


def dense_layout(depths: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """The layout that skips nothing."""
    return tuple((0.0,) * -(-depth // 2) for depth in depths)


class SparseSwin(Swin):
    """Swin whose `layout` and `importance` can be changed between calls.

    Takes Swin's arguments and has its parameters. With the dense layout, which it begins with, it
    computes what Swin computes. `importance` maps a stage's tokens (batch, rows, columns, channels)
    to (batch, rows, columns).
    """

    def __init__(
        self, *args: Any, importance: Callable[[Tensor], Tensor] = magnitude, **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        self.layout: Layout = dense_layout([len(stage.blocks) for stage in self.stages()])
        self.importance = importance

    def stages(self) -> "Iterable[Stage]":
        """The stages, the one of the finest map first."""
        return cast("Iterable[Stage]", self.layers)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The output of every stage, largest first."""
        if len(self.layout) != len(self.layers):
            raise ValueError(f"layout has {len(self.layout)} stages, the net {len(self.layers)}")
        x, maps = self.patch_embed(images), []
        for stage, ratios in zip(self.stages(), self.layout):
            x = sparse_stage(stage, x, ratios, self.importance)
            maps.append(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.maps(images)[-1]))


class SparseSegmenter(SparseSwin):
    """The same backbone with a light head for pixels: images (batch, channels, height, width) to
    logits (batch, classes, height, width).

    The maps of all stages are normed, brought to `width` channels and to the first one's size,
    added, and read by one linear layer.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        *args: Any,
        width: int = 48,
        **kwargs: Any,
    ):
        super().__init__(num_classes, dim, tuple(depths), tuple(heads), *args, **kwargs)
        del self.norm
        channels = [dim * 2**i for i in range(len(depths))]
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in channels)
        self.reduce = nn.ModuleList(nn.Linear(c, width) for c in channels)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = [
            reduce(norm(x)).permute(0, 3, 1, 2)
            for norm, reduce, x in zip(self.norms, self.reduce, self.maps(images))
        ]
        total = maps[0]
        for smaller in maps[1:]:
            total = total + F.interpolate(smaller, size=total.shape[-2:], mode="bilinear")
        logits = self.head(F.gelu(total))
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear")


def _moves(x: Tensor, window: int, shift: int) -> tuple[int, int]:
    return axis_shift(x.shape[1], window, shift), axis_shift(x.shape[2], window, shift)
