"""SwinIR's likeness: it starts from bicubic interpolation."""

import torch
from torch.nn import functional as F

from labsupport.models.swinir import SwinIRLike


@torch.no_grad()
def test_untrained_it_enlarges_as_bicubic_does():
    images = torch.rand(1, 3, 16, 24)
    base = F.interpolate(images, scale_factor=2, mode="bicubic")
    torch.testing.assert_close(SwinIRLike(8, 1, 2).eval()(images), base)
