"""Training: the one optimiser loop of the labs, and what happened in it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm  # as text: a bar that is a widget is an error where it is opened again

from labsupport.data.arguments import equally_many
from labsupport.training.schedule import learning_rate_factor

BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class History:
    """What happened in training: mean loss (for a classifier cross-entropy, in nats) and learning
    rate of every step, and the wall time of the whole run in seconds."""

    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def last_loss(self, steps: int) -> float:
        """Mean loss of the last `steps` steps, or of all where there are fewer."""
        return sum(self.loss[-steps:]) / len(self.loss[-steps:])


def shuffled_batches(
    n: int, batch_size: int, steps: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """`steps` tensors of `batch_size` indices below `n`: every index once, in random order, then
    all of them again in another order. A batch may span the end of one round."""
    waiting = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(n, generator=generator)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def fit(
    step: Callable[[int], Tensor | float],
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    first: int = 0,
    schedule: Callable[[int, int], float] | None = learning_rate_factor,
    clip: float | None = None,
    after: Callable[[int, float], None] | None = None,
    progress: bool | str = True,
) -> History:
    """The one loop: steps `first` to `steps` of `optimizer`; loss and learning rate of each.

    `step(number)` returns the loss of a step, from which the loop takes the gradients, clips them
    to the norm `clip` where that is given, and moves the weights. A step that has moved them
    itself (a student's) returns a plain number. The rate is the optimizer's own, as it comes, times
    `schedule(number, steps)`; without a schedule it is left to one of torch's, stepped in `after`.
    `after(number, loss)` is called when the weights have moved. `progress` shows a bar, with a text
    as its title.

    Raises FloatingPointError when a loss is not finite.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    learned = [p for group in optimizer.param_groups for p in group["params"]]
    losses: list[float] = []
    rates: list[float] = []
    start = perf_counter()
    title = progress if isinstance(progress, str) else "training"
    numbers = range(first, steps)
    with tqdm(numbers, initial=first, total=steps, disable=not progress, desc=title) as bar:
        for number in bar:
            if schedule is not None:
                factor = schedule(number, steps)
                for group, peak in zip(optimizer.param_groups, peaks):
                    group["lr"] = peak * factor
            rates.append(optimizer.param_groups[0]["lr"])
            loss = step(number)
            if isinstance(loss, Tensor):
                optimizer.zero_grad()
                loss.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(learned, clip)
                optimizer.step()
                loss = loss.item()
            losses.append(loss)
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the loss became {loss} at step {number + 1}; try a smaller lr than "
                    f"{peaks[0]:g}"
                )
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if after:
                after(number, loss)
    return History(losses, rates, perf_counter() - start)


def train_classifier(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    weight_decay: float = 0.05,
    seed: int = 0,
    progress: bool | str = True,
    loss_of: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> History:
    """Train `model` in place on `images` (n, channels, height, width) with `labels` (n,).

    Cross-entropy, AdamW (I. Loshchilov and F. Hutter, 2019) with betas (0.9, 0.98) and the
    schedule of `learning_rate_factor`, whose peak is `lr`. `seed` fixes the order of the images
    and any dropout; the global random numbers are not touched. Batches are moved to the device of
    the model. `progress` shows a bar, with a text as its title. Another `loss_of(outputs, labels)`
    takes whatever labels it wants, one entry an image: classes of pixels, say, or larger images.
    Leaves the model in eval mode.
    Raises FloatingPointError when the loss is not finite.
    """
    equally_many(images=images, labels=labels)
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps={steps} and batch_size={batch_size} must be at least 1")
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr, betas=BETAS, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(seed)
    batches = shuffled_batches(len(images), batch_size, steps, generator)

    def step(number: int) -> Tensor:
        batch = next(batches)
        return loss_of(model(images[batch].to(device)), labels[batch].to(device))

    model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        history = fit(step, optimizer, steps=steps, progress=progress)
    model.eval()
    return history
