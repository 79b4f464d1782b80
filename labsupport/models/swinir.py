"""A small SwinIR-like network for super-resolution, of torchvision's Swin blocks.

After J. Liang et al., "SwinIR" (ICCVW 2021): a 3x3 convolution, residual groups of Swin blocks
each closed by a 3x3 convolution, one more convolution, and a pixel shuffle. Like lab 03's own
network it predicts what bicubic interpolation misses, so that the two differ in their bodies only.
They share no code: lab 03 is graded with this file in sight, and its own network is an exercise.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformerBlock


class SwinGroup(nn.Module):
    """Two Swin blocks (the second with shifted windows) and a 3x3 convolution, residual."""

    def __init__(self, dim: int, heads: int, window: int):
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                SwinTransformerBlock(dim, heads, [window, window], [shift, shift], mlp_ratio=2)
                for shift in (0, window // 2)
            )
        )
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.conv(y)


class SwinIRLike(nn.Module):
    """Images (batch, 3, height, width) in [0, 1] to `scale` times the height and width."""

    def __init__(
        self, dim: int = 32, groups: int = 2, heads: int = 2, window: int = 8, scale: int = 2
    ):
        super().__init__()
        self.scale = scale
        self.shallow = nn.Conv2d(3, dim, 3, padding=1)
        self.body = nn.Sequential(*(SwinGroup(dim, heads, window) for _ in range(groups)))
        self.tail = nn.Conv2d(dim, 3 * scale**2, 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        base = F.interpolate(images, scale_factor=self.scale, mode="bicubic", align_corners=False)
        x = self.shallow(images)
        x = x + self.body(x)
        return base + F.pixel_shuffle(self.tail(x), self.scale)
