"""Diffusion: noising, the loss of a denoiser, and sampling with few steps; for any network.

J. Ho et al., "DDPM" (2020), equations 4 to 15; T. Salimans and J. Ho, "Progressive Distillation"
(2022), for the velocity; learned variances: A. Nichol and P. Dhariwal (2021), section 3.1.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.hart.schedule import STEPS, respaced, respaced_betas, signal

PREDICTIONS = ("velocity", "noise")


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """(batch,) with as many dimensions of size 1 behind as `like` has."""
    return values.to(like.dtype).reshape(-1, *[1] * (like.dim() - 1))


class Diffusion(nn.Module):
    """The process for data of about unit variance, (batch, ...). `network(noisy, time)` with time
    (batch,) in 0 … 999 answers in the shape of `noisy`.

    prediction: "velocity" asks the network for √ᾱ·noise − √(1−ᾱ)·x, "noise" for the noise as HART
    does. With noise, x at the last steps is noise over almost nothing: such a network depends on
    `clip`, the largest size that sampling lets an entry of x have.
    """

    signal: Tensor

    def __init__(self, prediction: str = "velocity", clip: float | None = 4.0):
        super().__init__()
        if prediction not in PREDICTIONS:
            raise ValueError(f"prediction={prediction!r}; choose from {', '.join(PREDICTIONS)}")
        self.prediction, self.clip = prediction, clip
        self.register_buffer("signal", signal(), persistent=False)  # (1000,)

    def noised(self, x: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """√ᾱ x + √(1−ᾱ) noise."""
        left = _wide(self.signal[time], x)
        return left.sqrt() * x + (1 - left).sqrt() * noise

    def target(self, x: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """What the network is to answer."""
        if self.prediction == "noise":
            return noise
        left = _wide(self.signal[time], x)
        return left.sqrt() * noise - (1 - left).sqrt() * x

    def clean(self, noisy: Tensor, answer: Tensor, time: Tensor) -> Tensor:
        """x as the network's answer has it, clipped."""
        return self._clean(noisy, answer, _wide(self.signal[time], noisy))

    def _clean(self, noisy: Tensor, answer: Tensor, left: Tensor | float) -> Tensor:
        if self.prediction == "noise":
            x = (noisy - (1 - left) ** 0.5 * answer) / left**0.5
        else:
            x = left**0.5 * noisy - (1 - left) ** 0.5 * answer
        return x if self.clip is None else x.clamp(-self.clip, self.clip)

    def loss(
        self,
        network: Callable[[Tensor, Tensor], Tensor],
        x: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mean squared error of the network's answer at a random time for every entry of the
        batch; one number each, (batch,)."""
        time = torch.randint(STEPS, (len(x),), generator=generator)
        noise = torch.randn(x.shape, generator=generator)
        answer = network(self.noised(x, noise, time), time)
        return F.mse_loss(answer, self.target(x, noise, time), reduction="none").flatten(1).mean(1)

    @torch.no_grad()
    def sample(
        self,
        network: Callable[[Tensor, Tensor], Tensor],
        draw: Callable[[], Tensor],
        steps: int,
        temperature: float = 1.0,
        on_step: Callable[[int, Tensor], None] | None = None,
        fresh: bool = True,
    ) -> Tensor:
        """Data out of noise in `steps` respaced steps, equally far apart. `draw()` returns
        standard noise of the batch's shape; `temperature` multiplies it. `on_step(number, x)` is
        told what the data would be after every step, from 0. fresh=False adds no new noise on the
        way (J. Song et al., "DDIM", 2021, equation 12 with sigma 0)."""
        times = respaced(steps)
        # plain numbers: for few tokens, a tensor of one number takes as long as all of them
        betas, left = respaced_betas(times).tolist(), self.signal[times].tolist()
        before = [1.0, *left[:-1]]
        x = draw() * temperature
        for step, i in enumerate(reversed(range(steps))):
            time = torch.full((len(x),), times[i])
            clean = self._clean(x, network(x, time), left[i])
            if on_step is not None:
                on_step(step, clean)
            if i == 0:
                return clean
            if not fresh:
                noise = (x - left[i] ** 0.5 * clean) / (1 - left[i]) ** 0.5
                x = before[i] ** 0.5 * clean + (1 - before[i]) ** 0.5 * noise
                continue
            mean = (
                before[i] ** 0.5 * betas[i] / (1 - left[i]) * clean
                + (1 - betas[i]) ** 0.5 * (1 - before[i]) / (1 - left[i]) * x
            )
            variance = betas[i] * (1 - before[i]) / (1 - left[i])
            x = mean + variance**0.5 * temperature * draw()
        return x
