"""Windows on a map of tokens: cutting, shifting, masking, and attention within them.

Follows Z. Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"
(ICCV 2021), section 3.2. Maps are (batch, rows, columns, channels), channels last as in the
original code; windows are numbered image by image, then row by row.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.layers import check_heads, self_attention

BLOCKED = -100.0  # added to a score: exp(-100) is as good as nothing, and no row can become NaN


def window_partition(x: Tensor, window: int) -> Tensor:
    """Cut (batch, rows, columns, channels) into (batch * windows, window², channels).

    Raises ValueError where `window` does not divide rows and columns.
    """
    batch, rows, columns, channels = x.shape
    if window < 1 or rows % window or columns % window:
        raise ValueError(f"window={window} must divide the map, {rows} x {columns}; pad it first")
    x = x.view(batch, rows // window, window, columns // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def window_reverse(windows: Tensor, window: int, rows: int, columns: int) -> Tensor:
    """Put the windows of `window_partition` back together: (batch, rows, columns, channels)."""
    channels = windows.shape[-1]
    x = windows.view(-1, rows // window, columns // window, window, window, channels)
    return x.transpose(2, 3).reshape(-1, rows, columns, channels)


def pad_to_windows(x: Tensor, window: int) -> Tensor:
    """Zeros below and to the right of (batch, rows, columns, channels) until windows fit."""
    rows, columns = x.shape[1:3]
    below, right = -rows % window, -columns % window
    return F.pad(x, (0, 0, 0, right, 0, below)) if below or right else x


def axis_shift(size: int, window: int, shift: int) -> int:
    """`shift`, or 0 along an axis that one window covers: there is nothing to connect."""
    return 0 if size <= window else shift


@lru_cache(maxsize=64)
def shift_mask(rows: int, columns: int, window: int, shift: int) -> Tensor:
    """What shifted windows add to the scores: (windows, window², window²), 0 or -100.

    After a cyclic shift the last windows of a row or column hold tokens from opposite rims of the
    map. Tokens may hear each other only when they were neighbours before, that is when both or
    neither of them came round the rim; any other pair in a window gets -100.
    """
    # made on the CPU and kept for later calls on any device
    came_round = torch.zeros(rows, columns, device="cpu")  # 0 to 3: along no axis, one, both
    for axis, size in enumerate((rows, columns)):
        first = size - axis_shift(size, window, shift)
        shape = (-1, 1) if axis == 0 else (1, -1)
        came_round += 2**axis * (torch.arange(size, device="cpu") >= first).view(shape)
    label = window_partition(came_round[None, :, :, None], window)[..., 0]  # (windows, window²)
    return (label[:, :, None] != label[:, None, :]) * BLOCKED


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for every pair of tokens in a window: (window², window²), integers.

    For query i at (r_i, c_i) and key j: (r_i - r_j + M - 1) · (2M - 1) + (c_i - c_j + M - 1).
    """
    place = torch.arange(window)
    gap = place[:, None] - place[None, :] + window - 1  # (window, window), 0 to 2M - 2
    rows = gap[:, None, :, None] * (2 * window - 1)  # (query row, 1, key row, 1)
    columns = gap[None, :, None, :]  # (1, query column, 1, key column)
    return (rows + columns).reshape(window**2, window**2)


class WindowAttention(nn.Module):
    """Multi-head attention within each window, with a learned bias for every relative position
    (equation 4): (batch * windows, window², dim) to the same shape."""

    relative_position_index: Tensor

    def __init__(self, dim: int, window: int, heads: int):
        super().__init__()
        check_heads(dim, heads)
        self.window, self.heads = window, heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        index = relative_position_index(window)
        self.register_buffer("relative_position_index", index, persistent=False)

    def bias(self) -> Tensor:
        """What relative position adds to the scores: (heads, window², window²)."""
        tokens = self.window**2
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return bias.view(tokens, tokens, self.heads).permute(2, 0, 1).contiguous()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` is that of `shift_mask`, (windows, window², window²), or None."""
        bias = self.bias()[None]  # (1, heads, window², window²)
        if mask is not None:
            bias = bias + mask[:, None]  # (windows of one image, heads, window², window²)
            bias = bias.repeat(len(x) // len(mask), 1, 1, 1)
        return self.proj(self_attention(self.qkv(x), self.heads, bias))


def shifted_window_attention(x: Tensor, attention: nn.Module, window: int, shift: int) -> Tensor:
    """Cyclic shift, `attention(windows, mask)` in every window, and the shift back.

    `x` is (batch, rows, columns, channels) of any size: it is padded with zeros where windows do
    not fit. An axis that one window covers is not shifted, and without a shift there is no mask.
    """
    rows, columns = x.shape[1:3]
    x = pad_to_windows(x, window)
    size = x.shape[1:3]
    moved = tuple(axis_shift(side, window, shift) for side in size)
    mask = None
    if any(moved):
        x = torch.roll(x, (-moved[0], -moved[1]), dims=(1, 2))
        mask = shift_mask(*size, window, shift).to(x)
    x = window_reverse(attention(window_partition(x, window), mask), window, *size)
    if any(moved):
        x = torch.roll(x, moved, dims=(1, 2))
    return x[:, :rows, :columns]
