"""The two-way transformer: prompts look at the image, and the image looks back (figure 14)."""

import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.layers import check_heads


class Attention(nn.Module):
    """Attention from `q` to `k` and `v`, (batch, tokens, dim) each, to the shape of `q`.

    Inside there are dim / `downsample` channels.
    """

    def __init__(self, dim: int, heads: int, downsample: int = 1):
        super().__init__()
        inner = dim // downsample
        check_heads(inner, heads)
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(dim, inner), nn.Linear(dim, inner)
        self.v_proj, self.out_proj = nn.Linear(dim, inner), nn.Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (self.q_proj(q), self.k_proj(k), self.v_proj(v))
        )  # (batch, heads, tokens, inner / heads)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class ReluMLP(nn.Module):
    """Two linear layers with a ReLU between (the encoder's have a GELU)."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x)))


class TwoWayBlock(nn.Module):
    """One layer: tokens among themselves, tokens to image, an MLP, image to tokens; post-norm.

    Positions are added to queries and keys, never to values. In the `first` layer, where tokens
    are nothing but their positions yet, self-attention does without them and without a residual:
    its output replaces the tokens.
    """

    def __init__(
        self, dim: int, heads: int, hidden: int, first: bool = False, norm_eps: float = 1e-5
    ):
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.cross_attn_token_to_image = Attention(dim, heads, 2)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = ReluMLP(dim, hidden)
        self.norm3 = nn.LayerNorm(dim, eps=norm_eps)
        self.cross_attn_image_to_token = Attention(dim, heads, 2)
        self.norm4 = nn.LayerNorm(dim, eps=norm_eps)

    def forward(
        self, tokens: Tensor, image: Tensor, token_positions: Tensor, image_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (n, tokens, dim) and image (n, places, dim), both in the same shapes."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_positions
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        k = image + image_positions
        tokens = self.norm2(
            tokens + self.cross_attn_token_to_image(tokens + token_positions, k, image)
        )
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(
            image + self.cross_attn_image_to_token(k, tokens + token_positions, tokens)
        )
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Layers of `TwoWayBlock`, then a last look of the tokens at the image.

    The tokens as they came in are their positions, added again in every layer.
    """

    def __init__(self, depth: int, dim: int, heads: int, hidden: int, norm_eps: float = 1e-5):
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(dim, heads, hidden, i == 0, norm_eps) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(dim, heads, 2)
        self.norm_final_attn = nn.LayerNorm(dim, eps=norm_eps)

    def forward(
        self, image: Tensor, image_positions: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (n, tokens, dim) and image (n, places, dim) after all layers.

        `image` is a map (n, dim, height, width), `image_positions` one of n or 1, `tokens` are
        (n, tokens, dim).
        """
        image = image.flatten(2).transpose(1, 2)
        image_positions = image_positions.flatten(2).transpose(1, 2)
        positions = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, positions, image_positions)
        tokens = tokens + self.final_attn_token_to_image(
            tokens + positions, image + image_positions, image
        )
        return self.norm_final_attn(tokens), image
