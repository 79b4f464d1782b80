"""The Vision Transformer: an image cut into patches, read as a sentence by a transformer encoder.

Follows A. Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021), section 3.1 and
table 1; ViT-Ti and ViT-S are the sizes of H. Touvron et al., "DeiT" (ICML 2021), table 1.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(
                f"patch_size={patch_size} must divide image_size={image_size} without remainder"
            )
        self.image_size = image_size
        self.patch_size = patch_size
        self.tokens = (image_size // patch_size) ** 2
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
        if heads < 1 or dim % heads:
            raise ValueError(f"heads={heads} must divide dim={dim} without remainder")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def split_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of `x`, each (batch, heads, tokens, dim / heads)."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # 3 x (batch, heads, tokens, head_dim)
        return q, k, v

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split_heads(x)
        x = F.scaled_dot_product_attention(q, k, v)  # (batch, heads, tokens, head_dim)
        x = x.transpose(1, 2).flatten(2)  # (batch, tokens, dim)
        return self.proj(x)

    def weights(self, x: Tensor) -> Tensor:
        """Attention weights (batch, heads, query, key) for input `x`; each row sums to 1.

        The fused attention of `forward` never stores them, so they are computed again here.
        """
        q, k, _ = self.split_heads(x)
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # (batch, heads, tokens, tokens)
        return scores.softmax(dim=-1)


class MLP(nn.Module):
    """Two linear layers with the exact (erf) GELU between, applied to every token alone."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


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
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                # One row per output, so that the patch convolution counts as the linear layer it is
                nn.init.xavier_uniform_(module.weight.view(module.weight.shape[0], -1))
                nn.init.zeros_(module.bias)
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
        for block in self.blocks:
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


TORCHVISION_NAMES = (  # in torchvision's state dict -> here; replaced in this order
    ("conv_proj.", "patch_embed.proj."),
    ("class_token", "cls_token"),
    ("encoder.pos_embedding", "pos_embed"),
    ("encoder.layers.encoder_layer_", "blocks."),
    ("encoder.ln.", "norm."),
    ("heads.head.", "head."),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".self_attention.in_proj_", ".attn.qkv."),
    (".self_attention.out_proj.", ".attn.proj."),
    (".mlp.0.", ".mlp.fc1."),
    (".mlp.3.", ".mlp.fc2."),
)


def load_torchvision_weights(model: VisionTransformer, state_dict: dict[str, Tensor]) -> None:
    """Copy the weights of a torchvision `VisionTransformer` of the same size into `model`.

    Both order the joint projection (query | key | value), so only names change. Raises
    ValueError when a name or a shape does not fit; `model` is then left as it was.
    """
    renamed = {}
    for name, tensor in state_dict.items():
        for theirs, ours in TORCHVISION_NAMES:
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    shapes = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wrong = sorted(n for n in shapes | expected if shapes.get(n) != expected.get(n))
    if wrong:
        raise ValueError(
            f"state_dict does not fit the model: {len(wrong)} entries differ, first {wrong[0]!r}: "
            f"{shapes.get(wrong[0], 'absent')}, expected {expected.get(wrong[0], 'no such entry')}"
        )
    model.load_state_dict(renamed)
