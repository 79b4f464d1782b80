"""Training and judging image classifiers, and keeping their weights."""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from tqdm.auto import tqdm

from labsupport.data.locate import data_path

BETAS = (0.9, 0.98)
WARMUP = 0.1  # share of the steps in which the learning rate rises


def seed_everything(seed: int) -> None:
    """Seed the global random numbers of Python, NumPy and PyTorch (every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def normalize(images: Tensor) -> Tensor:
    """Images with values in [0, 1], any shape, to [-1, 1]: what the labs' classifiers are trained
    on, as the original ViT is. Left uncentred, they learn far more slowly."""
    return images * 2 - 1


@dataclass(frozen=True)
class History:
    """What happened in training: mean loss (for a classifier cross-entropy, in nats) and learning
    rate of every step, and the wall time of the whole run in seconds."""

    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: float = 0.0


def learning_rate_factor(step: int, steps: int) -> float:
    """Share of the peak learning rate at `step` of `steps`: a linear rise over the first 10%,
    then half a cosine down to 0 (I. Loshchilov and F. Hutter, "SGDR", 2017)."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup + 1) / (steps - warmup + 1)))


def _check_pairs(images: Tensor, labels: Tensor) -> None:
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"images has {len(images)} entries and labels {len(labels)}; they must be equally "
            "many, and at least one"
        )


def shuffled_batches(n: int, batch_size: int, steps: int, generator: torch.Generator
                     ) -> Iterator[Tensor]:
    """`steps` tensors of `batch_size` indices below `n`: every index once, in random order, then
    all of them again in another order. A batch may span the end of one round."""
    waiting = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(n, generator=generator)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def train_classifier(model: nn.Module, images: Tensor, labels: Tensor, *, steps: int,
                     batch_size: int, lr: float, weight_decay: float = 0.05, seed: int = 0,
                     progress: bool | str = True,
                     loss_of: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy) -> History:
    """Train `model` in place on `images` (n, channels, height, width) with `labels` (n,).

    Cross-entropy, AdamW (I. Loshchilov and F. Hutter, 2019) with betas (0.9, 0.98) and the
    schedule of `learning_rate_factor`, whose peak is `lr`. `seed` fixes the order of the images
    and any dropout; the global random numbers are not touched. Batches are moved to the device of
    the model. `progress` shows a bar, with a text as its title. Another `loss_of(outputs, labels)`
    takes whatever labels it wants, one entry an image: classes of pixels, say, or larger images.
    Leaves the model in eval mode.
    Raises FloatingPointError when the loss is not finite.
    """
    _check_pairs(images, labels)
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps={steps} and batch_size={batch_size} must be at least 1")
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr, betas=BETAS, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, steps)
    )
    generator = torch.Generator().manual_seed(seed)
    batches = shuffled_batches(len(images), batch_size, steps, generator)
    losses, rates = [], []
    start = perf_counter()
    model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        title = progress if isinstance(progress, str) else "training"
        with tqdm(batches, total=steps, disable=not progress, desc=title) as bar:
            for batch in bar:
                logits = model(images[batch].to(device))  # (batch, classes)
                loss = loss_of(logits, labels[batch].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                rates.append(schedule.get_last_lr()[0])
                schedule.step()
                if not math.isfinite(losses[-1]):
                    raise FloatingPointError(
                        f"the loss became {losses[-1]} at step {len(losses)}; try a smaller lr "
                        f"than {lr:g}"
                    )
                bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    model.eval()
    return History(losses, rates, perf_counter() - start)


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 256) -> float:
    """Share of `images` (n, channels, height, width) whose largest logit is at `labels` (n,);
    between 0 and 1. Runs in eval mode, and leaves the model in the mode it was in."""
    _check_pairs(images, labels)
    device = next(model.parameters(), images).device
    was_training = model.training
    model.eval()
    correct = 0
    for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        correct += (model(x.to(device)).argmax(dim=-1) == y.to(device)).sum().item()
    model.train(was_training)
    return correct / len(labels)


def save_checkpoint(model: nn.Module, path: str | Path,
                    metadata: dict[str, str] | None = None) -> Path:
    """Write the state of `model` as safetensors (tensors only, nothing that can run code).

    `metadata` are short notes kept in the file's header, text to text. Returns the path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    # One header entry, because several come out in random order: the same model, the same bytes
    header = {"notes": json.dumps(metadata or {}, sort_keys=True)}
    path.write_bytes(save(state, header))  # `save_file` would let only the owner read it
    return path


def checkpoint_path(source: str | Path) -> Path:
    """The file of a checkpoint: a plain name ("01_vit") is one shipped with the labs, anything
    ending in .safetensors is a path. Raises FileNotFoundError when there is no such file."""
    path = Path(source)
    if path.suffix != ".safetensors":
        return data_path("checkpoints", f"{source}.safetensors")
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    return path


def read_metadata(source: str | Path) -> dict[str, str]:
    """The notes `save_checkpoint` kept in the header; `source` as for `load_checkpoint`."""
    with safe_open(checkpoint_path(source), framework="pt") as file:
        return json.loads((file.metadata() or {}).get("notes", "{}"))


def load_checkpoint(model: nn.Module, source: str | Path) -> None:
    """Load the state written by `save_checkpoint` into `model`, every name and shape or nothing.

    `source` is the name of a shipped checkpoint ("01_vit") or the path of a .safetensors file.
    Raises FileNotFoundError when there is no such file, and ValueError naming the missing, the
    unknown and the misshapen entries; `model` is then left as it was.
    """
    path = checkpoint_path(source)
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a readable safetensors file: {error}") from None
    own = model.state_dict()
    faults = {
        "missing from the file": [name for name in own if name not in state],
        "not in the model": [name for name in state if name not in own],
        "of another shape": [
            f"{name} {tuple(state[name].shape)}, in the model {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
    }
    found = [f"{kind}: {_shortened(names)}" for kind, names in faults.items() if names]
    if found:
        raise ValueError(f"{path.name} does not fit the model; {'; '.join(found)}")
    model.load_state_dict(state)


def _shortened(names: list[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
