"""Noise of a diffusion process: how much at every step, and which steps sampling takes.

The cosine schedule of A. Nichol and P. Dhariwal, "Improved Denoising Diffusion Probabilistic
Models" (2021), section 3.2, and their respacing, section 4.
"""

import math
from functools import cache

import torch
from torch import Tensor

STEPS = 1000
MAX_BETA = 0.999


def cosine_betas(steps: int = STEPS) -> Tensor:
    """(steps,) float64: the variance that each step adds."""

    def kept(share: float) -> float:
        return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

    return torch.tensor(
        [min(1 - kept((i + 1) / steps) / kept(i / steps), MAX_BETA) for i in range(steps)],
        dtype=torch.float64,
        device="cpu",  # it is kept for all: one built for counting, on "meta", must not leave it so
    )


@cache
def signal(steps: int = STEPS) -> Tensor:
    """(steps,) float64: the share of the image's variance that is left after each step; alpha bar
    in the papers. Always the same tensor."""
    return (1 - cosine_betas(steps)).cumprod(0)


def respaced(steps: int, total: int = STEPS) -> list[int]:
    """`steps` of the `total` steps, equally far apart, first and last included; growing. A single
    step is the last one: one jump from pure noise."""
    if not 1 <= steps <= total:
        raise ValueError(f"steps={steps} must be between 1 and {total}")
    if steps == 1:
        return [total - 1]
    return [round(i * (total - 1) / (steps - 1)) for i in range(steps)]


def respaced_betas(times: list[int], total: int = STEPS) -> Tensor:
    """(len(times),) float64: the variance added between one chosen time and the one before it."""
    left = signal(total)[times]
    return 1 - left / torch.cat([left.new_ones(1), left[:-1]])
