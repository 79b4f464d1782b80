"""ReLU linear attention, its multi-scale form, and the EfficientViT module (section 3.1)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.efficientvit.convolutions import (
    B_SERIES,
    ConvNormAct,
    MBConv,
    Residual,
    Style,
)

EPS = 1e-15  # the published code's; timm's is 1e-5


def relu_linear_attention(q: Tensor, k: Tensor, v: Tensor, eps: float = EPS) -> Tensor:
    """Attention whose shares are relu(q)·relu(k), divided by their sum over the keys.

    `q` is (batch, heads, queries, d), `k` and `v` are (batch, heads, keys, d); the result is like
    `q`. A column of ones beside the values carries the sum, so one product gives numerator and
    denominator. As in the published code the product is taken keys-with-values first, in time
    linear in the tokens, unless there are no more keys than d: then queries-with-keys first is
    cheaper. A query without a positive entry gets zeros. Half precision is computed in float32,
    because a sum over thousands of keys would overflow.

    The formula alone, in one order and without padding, is `labsupport.models.attention`'s.
    """
    dtype = v.dtype
    if dtype in (torch.float16, torch.bfloat16):
        q, k, v = q.float(), k.float(), v.float()
    q, k = q.relu().transpose(-2, -1), k.relu()  # q: (batch, heads, d, queries)
    # Channels first, as a convolution gives them: nothing has to be copied into another order
    v = F.pad(v.transpose(-2, -1), (0, 0, 0, 1), value=1.0)  # (batch, heads, d + 1, keys)
    out = (v @ k) @ q if k.shape[-2] > k.shape[-1] else v @ (k @ q)
    out = out[..., :-1, :] / (out[..., -1:, :] + eps)
    return out.transpose(-2, -1).to(dtype)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention, for comparison; shapes as in `relu_linear_attention`."""
    # contiguous: on a CPU the fused attention is several times slower without
    return F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous())


class Aggregation(nn.Module):
    """Queries, keys and values of neighbourhoods: (batch, 3 * dim, height, width), same shape.

    A depthwise convolution over `kernel_size` x `kernel_size` pixels, then a 1x1 convolution in
    3 * heads groups, so that the queries (keys, values) of one head mix among themselves only.
    """

    def __init__(self, dim: int, heads: int, kernel_size: int = 5):
        super().__init__()
        self.depthwise = nn.Conv2d(
            3 * dim, 3 * dim, kernel_size, padding=kernel_size // 2, groups=3 * dim, bias=False
        )
        self.grouped = nn.Conv2d(3 * dim, 3 * dim, 1, groups=3 * heads, bias=False)

    def forward(self, qkv: Tensor) -> Tensor:
        return self.grouped(self.depthwise(qkv))


class MultiScaleAttention(nn.Module):
    """Linear attention over the tokens and over neighbourhoods of them (figure 2; "LiteMLA").

    (batch, dim, height, width) to the same shape. A head has `head_dim` channels; every entry of
    `scales` adds a second set of queries, keys and values, each mixed from a neighbourhood of
    that many pixels across, and as many heads again. Channels of `qkv` are laid out head by head:
    (heads, query | key | value, head_dim).
    """

    def __init__(
        self,
        dim: int,
        head_dim: int = 16,
        scales: Sequence[int] = (5,),
        attention: Callable[[Tensor, Tensor, Tensor], Tensor] = relu_linear_attention,
        style: Style = B_SERIES,
    ):
        super().__init__()
        if head_dim < 1 or dim < head_dim:
            raise ValueError(f"head_dim={head_dim} must lie between 1 and dim={dim}")
        heads = dim // head_dim
        inner = heads * head_dim
        self.head_dim, self.attention = head_dim, attention
        self.qkv = ConvNormAct(dim, 3 * inner)
        self.aggreg = nn.ModuleList(Aggregation(inner, heads, scale) for scale in scales)
        self.proj = ConvNormAct(inner * (1 + len(self.aggreg)), dim, norm=style.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        qkv = self.qkv(x)  # (batch, 3 * inner, height, width)
        if len(self.aggreg):
            qkv = torch.cat([qkv] + [mix(qkv) for mix in self.aggreg], dim=1)
        tokens = qkv.flatten(2).unflatten(1, (-1, 3 * self.head_dim)).transpose(-2, -1)
        q, k, v = tokens.chunk(3, dim=-1)  # each (batch, all heads, tokens, head_dim)
        out = self.attention(q, k, v).transpose(-2, -1)  # (batch, all heads, head_dim, tokens)
        return self.proj(out.flatten(1, 2).unflatten(2, (height, width)))


class EfficientViTModule(nn.Module):
    """Context, then detail: residual multi-scale attention, residual MBConv (figure 2, left).

    The MBConv is the feed-forward layer of a transformer with a depthwise convolution in it.
    `context` takes the place of the attention; nn.Identity() leaves it out.
    """

    def __init__(
        self,
        dim: int,
        head_dim: int = 16,
        expand: float = 4,
        context: nn.Module | None = None,
        style: Style = B_SERIES,
    ):
        super().__init__()
        if context is None:
            context = MultiScaleAttention(dim, head_dim, style=style)
        no_context = isinstance(context, nn.Identity)
        self.context_module = context if no_context else Residual(context)
        self.local_module = Residual(MBConv(dim, dim, expand=expand, fewer_norm=True, style=style))

    def forward(self, x: Tensor) -> Tensor:
        return self.local_module(self.context_module(x))
