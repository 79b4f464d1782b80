"""Residual tokens by diffusion: what the last codes leave out, a token at a time, by an MLP.

HART, section 3.3; the MLP is that of T. Li et al., "Autoregressive Image Generation without
Vector Quantization" (MAR, 2024), section 3.2.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.diffusion import Diffusion
from labsupport.models.hart.sampling import guided
from labsupport.models.hart.schedule import respaced
from labsupport.models.hart.transformer import sinusoid

TIME_DIM = 256
TOGETHER = 128  # tokens


class ModulatedBlock(nn.Module):
    """x + gate · MLP of normalised x; shift, scale and gate come from time and condition (adaLN)
    by the layer `modulation`, `factor` is 1 + scale."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, shift: Tensor, factor: Tensor, gate: Tensor) -> Tensor:
        return torch.addcmul(x, gate, self.mlp(torch.addcmul(shift, self.norm(x), factor)))


class DenoisingMLP(nn.Module):
    """Noisy tokens (n, dim), times (n,) or (1,) and conditions (n, condition_dim) to answers
    (n, outputs). What blocks add and the answer are 0 before training.

    MAR's, but for one thing: time and condition pass their SiLU before they are added, not after.
    What layers then make of their sum is a sum too. The condition's part, which is most of the
    work, is the same at all steps of sampling, and the time's part for all tokens: `told` and
    `at` compute each once.
    """

    one: Tensor

    def __init__(self, dim: int, condition_dim: int, width: int, depth: int, outputs: int):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(TIME_DIM, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = nn.Linear(condition_dim, width)
        self.inputs = nn.Linear(dim, width)
        blocks = [ModulatedBlock(width) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.outputs = nn.Linear(width, outputs)
        self.register_buffer(
            "one", torch.tensor([0.0, 1.0, 0.0]).repeat_interleave(width), persistent=False
        )
        for layer in [*(block.modulation for block in blocks), self.modulation, self.outputs]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        both = self._of_time(time) + F.silu(self.condition(condition))
        return self._answer(
            x,
            [F.linear(both, layer.weight, layer.bias + one) for layer, one in self._modulations()],
        )

    def told(self, condition: Tensor) -> list[Tensor]:
        """What conditions (n, condition_dim) say to every layer, for `step`."""
        known = F.silu(self.condition(condition))
        return [layer(known) for layer, _ in self._modulations()]

    def at(self, time: Tensor) -> list[Tensor]:
        """What times (steps,) say to every layer, (steps, …), for `step`."""
        now = self._of_time(time)
        return [F.linear(now, layer.weight, one) for layer, one in self._modulations()]

    def step(self, x: Tensor, at: Sequence[Tensor], told: Sequence[Tensor]) -> Tensor:
        """The answers of `forward` for x (n, dim), given `at(time)` for one time and
        `told(condition)`."""
        return self._answer(x, [now + known for now, known in zip(at, told, strict=True)])

    def _of_time(self, time: Tensor) -> Tensor:
        return F.silu(self.time(sinusoid(time, TIME_DIM)))

    def _modulations(self) -> list[tuple[nn.Linear, Tensor]]:
        """The layers, and what makes a factor of the scale in their answers: ones there."""
        blocks = cast(list[ModulatedBlock], self.blocks)  # torch does not say what its lists hold
        layers = [*(block.modulation for block in blocks), self.modulation]
        return [(layer, self.one[: len(layer.bias)]) for layer in layers]

    def _answer(self, x: Tensor, modulations: list[Tensor]) -> Tensor:
        x = self.inputs(x)
        for block, modulation in zip(self.blocks, modulations[:-1], strict=True):
            x = block(x, *modulation.chunk(3, dim=-1))
        shift, factor = modulations[-1].chunk(2, dim=-1)
        return self.outputs(torch.addcmul(shift, self.norm(x), factor))


class ResidualDiffusion(nn.Module):
    """Continuous tokens by diffusion, each from its own condition.

    The network predicts velocities; `prediction="noise"` is HART's. `scale` is the deviation of
    the tokens, measured by `measure`, and stored: inside, tokens have about unit variance (HART
    divides by 0.6).
    """

    scale: Tensor

    def __init__(
        self,
        dim: int,
        condition_dim: int,
        width: int = 128,
        depth: int = 3,
        prediction: str = "velocity",
        clip: float | None = 4.0,
    ):
        super().__init__()
        self.dim = dim
        self.net = DenoisingMLP(dim, condition_dim, width, depth, dim)
        self.diffusion = Diffusion(prediction, clip)
        self.register_buffer("scale", torch.ones(()))

    def measure(self, tokens: Tensor) -> None:
        """Take the scale from examples of tokens, of any shape."""
        self.scale.copy_(tokens.square().mean().sqrt())

    def loss(
        self,
        tokens: Tensor,
        condition: Tensor,
        generator: torch.Generator | None = None,
        repeats: int = 1,
    ) -> Tensor:
        """Mean loss of tokens (n, dim) given conditions (n, condition_dim), each at `repeats`
        random times."""
        x = (tokens / self.scale).repeat(repeats, 1)
        condition = condition.repeat(repeats, 1)
        return self.diffusion.loss(
            lambda noisy, time: self.net(noisy, time, condition), x, generator
        ).mean()

    @torch.no_grad()
    def sample(
        self,
        condition: Tensor,
        steps: int = 8,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        guidance: float = 0.0,
        without: Tensor | None = None,
        draw: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        """Tokens (..., dim) for conditions (..., condition_dim), in `steps` network passes.

        `guidance` t with the conditions `without` caption: answers (1 + t)·with − t·without.
        `draw()`, in the place of a generator, returns noise in the shape of the tokens.
        """
        shape = (*condition.shape[:-1], self.dim)
        both = [condition] if without is None or guidance == 0 else [condition, without]
        times = respaced(steps)
        at = dict(zip(times, zip(*self.net.at(torch.tensor(times)), strict=True), strict=True))
        noise = torch.stack(
            [draw() if draw else torch.randn(shape, generator=generator) for _ in times]
        ).view(steps, -1, self.dim)

        def few(noise: Tensor, *conditions: Tensor) -> Tensor:
            told, draws = self.net.told(torch.cat(conditions)), iter(noise)

            def network(x: Tensor, time: Tensor) -> Tensor:
                now = at[int(time[0])]  # all are at the same time
                if len(both) == 1:
                    return self.net.step(x, now, told)
                given, free = self.net.step(x.repeat(2, 1), now, told).chunk(2)
                return guided(given, free, guidance)

            return self.diffusion.sample(network, lambda: next(draws), steps, temperature)

        # tokens do not depend on each other: so many at a time that what they are told stays in
        # the processor's cache over the steps
        conditions = [c.flatten(0, -2).split(TOGETHER) for c in both]
        x = torch.cat(
            [few(*part) for part in zip(noise.split(TOGETHER, dim=1), *conditions, strict=True)]
        )
        return (x * self.scale).reshape(shape)
