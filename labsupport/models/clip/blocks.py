"""The transformer block of both of CLIP's towers."""

from typing import Any

from torch import Tensor, nn

from labsupport.models.layers import check_heads, self_attention


def quick_gelu(x: Tensor) -> Tensor:
    """x · σ(1.702 x): the approximation of GELU that CLIP's published weights were trained with."""
    return x * (1.702 * x).sigmoid()


class Block(nn.Module):
    """Pre-norm transformer block, (batch, tokens, width) to the same shape.

    `causal`: a token sees itself and what stands before it. Norms have PyTorch's eps of 1e-5.
    """

    def __init__(self, width: int, heads: int, causal: bool = False):
        super().__init__()
        check_heads(width, heads, "width")
        self.heads, self.causal = heads, causal
        self.ln_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.ln_1(x))
        return x + self.fc2(quick_gelu(self.fc1(self.ln_2(x))))

    def attention(self, x: Tensor) -> Tensor:
        """Multi-head self-attention without the shortcut."""
        return self.out(self_attention(self.qkv(x), self.heads, causal=self.causal))


def initialise(tower: Any) -> None:
    """Fill an image or text tower by the rule that CLIP's code has for its text tower.

    Normal numbers, whose spread falls with width, and for what is added to the stream with depth
    too (`initialize_parameters`; OpenAI's code leaves the image tower's blocks as PyTorch made
    them, and attention biases at zero: here biases stay as PyTorch made them). A tower is any
    module with `blocks`, `proj`, `positional_embedding`, and `token_embedding` or
    `class_embedding`.
    """
    width, depth = tower.proj.in_features, len(tower.blocks)
    spread = width**-0.5
    for block in tower.blocks:
        nn.init.normal_(block.qkv.weight, std=spread)
        nn.init.normal_(block.out.weight, std=spread * (2 * depth) ** -0.5)
        nn.init.normal_(block.fc1.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.fc2.weight, std=spread * (2 * depth) ** -0.5)
    nn.init.normal_(tower.proj.weight, std=spread)
    if hasattr(tower, "token_embedding"):
        nn.init.normal_(tower.token_embedding.weight, std=0.02)
        nn.init.normal_(tower.positional_embedding, std=0.01)
    else:
        nn.init.normal_(tower.class_embedding, std=spread)
        nn.init.normal_(tower.positional_embedding, std=spread)
