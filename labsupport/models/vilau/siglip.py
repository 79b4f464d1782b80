"""The published image encoder: a ViT of SigLIP, read one block before its end.

X. Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (SigLIP, ICCV 2023). VILA-U's tower
quantizes what leaves the second-to-last block; the last block, its norm and the pooling head belong
to the alignment with text. Followed: `transformers`' SiglipVisionModel.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.layers import MLP
from labsupport.models.vilau.config import SiglipConfig
from labsupport.models.vit import NORM_EPS, EncoderBlock
from labsupport.models.weights import Names, load_renamed


class TanhMLP(MLP):
    """The MLP of a block with GELU by a hyperbolic tangent, as SigLIP's weights were trained."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class SiglipBlock(EncoderBlock):
    """A pre-norm block of a ViT with `hidden` channels in its MLP."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__(dim, heads)
        self.mlp = TanhMLP(dim, hidden)


class AttentionPool(nn.Module):
    """One vector of many: a learned probe attends to them. (batch, tokens, dim) to (batch, dim)."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, dim))
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = TanhMLP(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        probe = self.probe.expand(len(x), -1, -1)
        pooled, _ = self.attention(probe, x, x, need_weights=False)
        return (pooled + self.mlp(self.norm(pooled)))[:, 0]


class SiglipEncoder(nn.Module):
    """Images (batch, 3, size, size) in [-1, 1] to `features` (batch, tokens, dim), and features,
    quantized or not, by `pool` to one vector an image, (batch, dim), to be compared with text."""

    def __init__(self, config: SiglipConfig):
        super().__init__()
        self.side = config.image_size // config.patch_size  # 384 pixels in 27 patches of 14
        self.patch_embed = nn.Conv2d(3, config.dim, config.patch_size, config.patch_size)
        self.positions = nn.Embedding(self.side**2, config.dim)
        self.blocks = nn.ModuleList(
            SiglipBlock(config.dim, config.heads, config.hidden) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.head = AttentionPool(config.dim, config.heads, config.hidden)

    def features(self, images: Tensor) -> Tensor:
        """What leaves the second-to-last block: without the last norm, which is another scale."""
        x = self.patch_embed(images).flatten(2).mT + self.positions.weight
        for block in self.blocks[:-1]:
            x = block(x)
        return x

    def pool(self, features: Tensor) -> Tensor:
        """The last block, its norm, and the pooling head."""
        return self.head(self.norm(self.blocks[-1](features)))

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)


NAMES: Names = (  # a pattern in transformers' state dict, what it is here; applied in this order
    (r"^vision_model\.", ""),
    (r"^embeddings\.patch_embedding\.", "patch_embed."),
    (r"^embeddings\.position_embedding\.", "positions."),
    (r"^encoder\.layers\.", "blocks."),
    (r"^post_layernorm\.", "norm."),
    (r"^head\.layernorm\.", "head.norm."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
)


def load_transformers_weights(model: SiglipEncoder, state_dict: Mapping[str, Tensor]) -> None:
    """Copy the weights of a `transformers.SiglipVisionModel` of the same size into `model`, with
    queries, keys and values in one matrix. Raises ValueError where a name or shape does not fit."""
    state = {}
    for name, tensor in state_dict.items():
        if ".q_proj." in name:
            parts = [state_dict[name.replace("q_proj", part)] for part in ("k_proj", "v_proj")]
            state[name.replace("self_attn.q_proj", "attn.qkv")] = torch.cat([tensor, *parts])
        elif ".k_proj." not in name and ".v_proj." not in name:
            state[name] = tensor
    load_renamed(model, state, NAMES)
