"""Residual diffusion: what the codes of the last scale leave out, a token at a time, by an MLP.

HART, section 3.3; the MLP is that of T. Li et al., "Autoregressive Image Generation without
Vector Quantization" (MAR, 2024), section 3.2.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.diffusion import Diffusion
from labsupport.models.hart.transformer import sinusoid

TIME_DIM = 256


class ResidualBlock(nn.Module):
    """x + gate · MLP of normalised x; shift, scale and gate come from time and condition (adaLN)
    by the layer `modulation`."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        shift, scale, gate = modulation.chunk(3, dim=-1)
        return x + gate * self.mlp(self.norm(x) * (1 + scale) + shift)


class DenoisingMLP(nn.Module):
    """Noisy tokens (n, dim), times (n,) or (1,) and conditions (n, condition_dim) to answers
    (n, outputs). What blocks add and the answer are 0 before training.

    MAR's, but for one thing: time and condition pass their SiLU before they are added, not after.
    What layers then make of their sum is a sum too, and the condition's part, which is most of the
    work, is the same at all steps of sampling: `told` computes it once.
    """

    def __init__(self, dim: int, condition_dim: int, width: int, depth: int, outputs: int):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(TIME_DIM, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = nn.Linear(condition_dim, width)
        self.inputs = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.outputs = nn.Linear(width, outputs)
        for layer in [*(block.modulation for block in self.blocks), self.modulation, self.outputs]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        both = self._of_time(time) + F.silu(self.condition(condition))
        return self._answer(x, [layer(both) for layer in self._modulations()])

    def told(self, condition: Tensor) -> list[Tensor]:
        """What conditions (n, condition_dim) say to every layer, for `step`."""
        known = F.silu(self.condition(condition))
        return [layer(known) for layer in self._modulations()]

    def step(self, x: Tensor, time: Tensor, told: list[Tensor]) -> Tensor:
        """The answers of `forward` for x (n, dim) at one time (1,), given `told(condition)`."""
        now = self._of_time(time)
        return self._answer(x, [F.linear(now, layer.weight) + known
                                for layer, known in zip(self._modulations(), told, strict=True)])

    def _of_time(self, time: Tensor) -> Tensor:
        return F.silu(self.time(sinusoid(time, TIME_DIM)))

    def _modulations(self) -> list[nn.Linear]:
        return [*(block.modulation for block in self.blocks), self.modulation]

    def _answer(self, x: Tensor, modulations: list[Tensor]) -> Tensor:
        x = self.inputs(x)
        for block, modulation in zip(self.blocks, modulations[:-1], strict=True):
            x = block(x, modulation)
        shift, scale = modulations[-1].chunk(2, dim=-1)
        return self.outputs(self.norm(x) * (1 + scale) + shift)


class ResidualDiffusion(nn.Module):
    """Continuous tokens by diffusion, each from its own condition.

    The network predicts velocities; `prediction="noise"` is HART's. `scale` is the deviation of
    the tokens, measured by `measure`, and stored: inside, tokens have about unit variance (HART
    divides by 0.6).
    """

    def __init__(self, dim: int, condition_dim: int, width: int = 128, depth: int = 3,
                 prediction: str = "velocity", clip: float | None = 4.0):
        super().__init__()
        self.dim = dim
        self.net = DenoisingMLP(dim, condition_dim, width, depth, dim)
        self.diffusion = Diffusion(prediction, clip)
        self.register_buffer("scale", torch.ones(()))

    def measure(self, tokens: Tensor) -> None:
        """Take the scale from examples of tokens, of any shape."""
        self.scale.copy_(tokens.square().mean().sqrt())

    def loss(self, tokens: Tensor, condition: Tensor,
             generator: torch.Generator | None = None, repeats: int = 1) -> Tensor:
        """Mean loss of tokens (n, dim) given conditions (n, condition_dim), each at `repeats`
        random times."""
        x = (tokens / self.scale).repeat(repeats, 1)
        condition = condition.repeat(repeats, 1)
        return self.diffusion.loss(lambda noisy, time: self.net(noisy, time, condition), x,
                                   generator).mean()

    @torch.no_grad()
    def sample(self, condition: Tensor, steps: int = 8, generator: torch.Generator | None = None,
               temperature: float = 1.0, guidance: float = 0.0, without: Tensor | None = None,
               draw: Callable[[], Tensor] | None = None) -> Tensor:
        """Tokens (..., dim) for conditions (..., condition_dim), in `steps` network passes.

        `guidance` t with the conditions `without` caption: answers (1 + t)·with − t·without.
        `draw()`, in the place of a generator, returns noise in the shape of the tokens.
        """
        shape = (*condition.shape[:-1], self.dim)
        guided = guidance != 0 and without is not None
        told = self.net.told(torch.cat([condition.flatten(0, -2), without.flatten(0, -2)])
                             if guided else condition.flatten(0, -2))

        def network(x: Tensor, time: Tensor) -> Tensor:
            if not guided:
                return self.net.step(x, time[:1], told)  # all are at the same time
            given, free = self.net.step(x.repeat(2, 1), time[:1], told).chunk(2)
            return (1 + guidance) * given - guidance * free

        def noise() -> Tensor:
            fresh = draw() if draw else torch.randn(shape, generator=generator)
            return fresh.reshape(-1, self.dim)

        x = self.diffusion.sample(network, noise, steps, temperature)
        return (x * self.scale).reshape(shape)
