"""Pairs of things, lab 06's: their scenes, and training on batches without two equal captions.

Two captions that say the same ("a cat left of a dog", "a dog right of a cat") never meet in a
batch, where each would be counted as wrong for the other's image.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from labsupport.data.pairs import SIZE, fact, pair_scenes, showcase, split_caption, swapped
from labsupport.training.loop import BETAS, History, fit

__all__ = [
    "SIZE",
    "distinct_batches",
    "fact",
    "pair_scenes",
    "showcase",
    "split_caption",
    "swapped",
    "train_pairs",
]


def distinct_batches(
    keys: Sequence[str], batch_size: int, steps: int, seed: int = 0
) -> Iterator[Tensor]:
    """`steps` tensors of `batch_size` indices whose `keys` all differ within a batch.

    Indices come in random order; one whose key is in the batch already waits for the next round.
    Raises ValueError where there are not as many different keys as a batch needs.
    """
    if len(set(keys)) < batch_size:
        raise ValueError(
            f"batch_size={batch_size}, but there are only {len(set(keys))} different captions"
        )
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        batch: dict[str, int] = {}
        while len(batch) < batch_size:
            for index in rng.integers(len(keys), size=2 * batch_size).tolist():
                batch.setdefault(keys[index], index)
        yield torch.tensor(list(batch.values())[:batch_size])


def train_pairs(
    model: nn.Module,
    step: Callable[..., Tensor | float],
    inputs: Sequence[Tensor],
    keys: Sequence[str],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    weight_decay: float = 0.05,
    seed: int = 0,
    progress: bool | str = True,
    after: Callable[[int], None] | None = None,
) -> tuple[History, list[float]]:
    """Train `model` in place with `step(model, optimizer, *inputs of a batch)`, which returns the
    loss, a number where it has moved the weights itself; AdamW and the schedule of
    `labsupport.training.fit`. Entries of a batch differ in `keys`. `after(number)` is called when
    the weights have moved.

    Returns the history, and exp(model.logit_scale) after every step (1 where there is none).
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr, betas=BETAS, weight_decay=weight_decay)
    batches = distinct_batches(keys, batch_size, steps, seed)
    scales: list[float] = []

    def one_step(_: int) -> Tensor | float:
        batch = next(batches)
        return step(model, optimizer, *(values[batch] for values in inputs))

    def note_scale(number: int, loss: float) -> None:
        if after:
            after(number)
        scale = getattr(model, "logit_scale", torch.zeros(()))
        scales.append(scale.detach().exp().item())

    model.train()
    history = fit(one_step, optimizer, steps=steps, after=note_scale, progress=progress)
    model.eval()
    return history, scales
