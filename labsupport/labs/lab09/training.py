"""Training of lab 09: one way for HART and everything it is compared with.

A generator is a module with `loss(images, text, generator) -> (number, parts)` and, before the
first step, `measure(images)`. A run that is killed goes on where it stopped.
"""

import math
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from labsupport.data.stickers import stickers, tokenize
from labsupport.data.transforms import normalize
from labsupport.files import write_whole
from labsupport.training.loop import fit

BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.95), 0.03, 1.0
WARMUP, FLOOR = 100, 0.01  # steps; share of the peak rate that is left at the end
EVERY = 50  # steps between two points of the loss curve
MEASURED = 512  # images that the scales of latents are taken from
JITTER = 0.5  # images of one caption differ half as much as a tokenizer sees

Source = Callable[[int], tuple[Tensor, Tensor]]


def sticker_source(
    size: int = 64,
    batch_size: int = 16,
    split: str = "train",
    seed: int = 0,
    jitter: float = JITTER,
) -> Source:
    """Batch number i of an endless supply: images (batch, 3, size, size) in [-1, 1] and their
    captions (batch, words). The same i gives the same batch."""
    chunk = 64  # batches drawn together: captions are then few calls

    held: dict[int, tuple[Tensor, Tensor]] = {}

    def batch(i: int) -> tuple[Tensor, Tensor]:
        if i // chunk not in held:
            held.clear()
            drawn = stickers(
                chunk * batch_size,
                size,
                split=split,
                jitter=jitter,
                seed=1_000_000 * (seed + 1) + i // chunk,
            )
            held[i // chunk] = normalize(drawn.images), tokenize(drawn.captions)
        rows = slice(i % chunk * batch_size, (i % chunk + 1) * batch_size)
        images, text = held[i // chunk]
        return images[rows], text[rows]

    return batch


def rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: up over the first 100 steps (or a tenth of fewer), then
    half a cosine down to 1%."""
    warmup = min(WARMUP, max(1, steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * share))


def running_mean(model: nn.Module, decay: float) -> AveragedModel:
    """A running mean of the weights, as they are now at first. Each `update_parameters(model)`
    moves it by 1 − decay of the way, by more at the beginning, when it has seen little."""

    def move(means: list[Tensor], weights: list[Tensor], seen: Tensor) -> None:
        now = min(decay, seen.item() / (seen.item() + 9))
        get_ema_multi_avg_fn(now)(means, weights, seen)

    mean = AveragedModel(model, multi_avg_fn=move)
    mean.update_parameters(model)  # the first call copies; those after it are counted from 1
    return mean


def learned_state(model: nn.Module) -> dict[str, Tensor]:
    """The state to keep: all but the tokenizer's, which has a file of its own."""
    state = model.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("tokenizer.")}


def train_generator(
    model: nn.Module,
    source: Source,
    *,
    steps: int,
    lr: float = 1.5e-3,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    save_every: int = 500,
    average: float | None = None,
    progress: bool | str = True,
    on_log: Callable[[dict], None] | None = None,
    stop_after: int | None = None,
    at_step: Callable[[int], dict] | None = None,
    **options: object,
) -> list[dict]:
    """Train `model` in place; the loss curve, one record every 50 steps: step, loss and its parts
    (means over those steps), lr, seconds since the start.

    AdamW with betas 0.9 and 0.95, decay 0.03, gradients clipped at 1, the schedule of `rate`.
    source: batch number i, the same for the same i, such as `sticker_source`.
    checkpoint: a file that everything is written to every `save_every` steps and at the end. If it
        is there, the run goes on from it, as it would have gone: random numbers depend on the
        step and `seed` alone.
    average: decay of a running mean of the weights, 0.999 say, which the model ends with.
    on_log(record): called for every record. stop_after: end this call at that step.
    options: handed to `model.loss`, as are those that `at_step(step)` returns, from step 0.
    Raises FloatingPointError when the loss is not finite; leaves the model in eval mode.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]  # not a frozen tokenizer's
    # vectors, norms and gains are not drawn towards 0
    decayed = [p for p in parameters if p.dim() > 1]
    free = [p for p in parameters if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": free, "weight_decay": 0.0}],
        lr,
        betas=BETAS,
    )
    path = Path(checkpoint) if checkpoint else None
    killed = read_state(path, steps, seed) if path and path.is_file() else None
    if killed:
        model.load_state_dict(killed["model"], strict=False)
        optimizer.load_state_dict(killed["optimizer"])
        for group in optimizer.param_groups:
            group["lr"] = lr  # the peak, not the rate that the run had come to
    else:
        model.measure(torch.cat([source(i)[0] for i in range(-(-MEASURED // len(source(0)[0])))]))
    mean = running_mean(model, average) if average else None
    if killed and mean:
        mean.module.load_state_dict(killed["average"], strict=False)
        mean.n_averaged.fill_(killed["step"] + 1)
    log: list[dict] = killed["log"] if killed else []
    sums: dict[str, Tensor] = killed["sums"] if killed else {}  # of loss and parts since then
    before = killed["seconds"] if killed else 0.0
    generator, start = torch.Generator(), perf_counter()

    def step(number: int) -> Tensor:
        generator.manual_seed(seed * 1_000_003 + number)
        more = at_step(number) if at_step else {}
        loss, parts = model.loss(*source(number), generator, **options, **more)
        for name, value in ({"loss": loss.detach()} | parts).items():
            sums[name] = sums.get(name, 0) + value
        return loss

    def after(number: int, _: float) -> None:
        if mean:
            mean.update_parameters(model)
        done = number + 1
        if done % EVERY == 0 or done == steps:
            count = number % EVERY + 1
            values = {name: round(value.item() / count, 5) for name, value in sums.items()}
            seconds = round(before + perf_counter() - start, 1)
            log.append(
                {"step": done, **values, "lr": round(lr * rate(number, steps), 7)}
                | {"seconds": seconds}
            )
            sums.clear()
            if on_log:
                on_log(log[-1])
        if path and (done % save_every == 0 or done == last):
            state = {
                "model": learned_state(model),
                "optimizer": optimizer.state_dict(),
                "average": learned_state(mean.module) if mean else None,
                "step": done,
                "log": log,
                "sums": sums,
                "seconds": before + perf_counter() - start,
                "steps": steps,
                "seed": seed,
            }
            whole = BytesIO()
            torch.save(state, whole)
            write_whole(path, whole.getvalue())

    last = min(steps, stop_after or steps)
    model.train()
    fit(
        step,
        optimizer,
        steps=last,
        first=killed["step"] if killed else 0,
        schedule=lambda number, _: rate(number, steps),
        clip=CLIP,
        after=after,
        progress=progress,
    )
    if mean and last == steps:
        model.load_state_dict(mean.module.state_dict())
    model.eval()
    return log


def read_state(path: Path, steps: int, seed: int) -> dict:
    """What a killed run kept. Raises ValueError where that was a run of other steps or seed."""
    state = torch.load(path, weights_only=True)
    if (state["steps"], state["seed"]) != (steps, seed):
        raise ValueError(
            f"{path} is of a run of {state['steps']} steps with seed "
            f"{state['seed']}, not {steps} and {seed}; delete it to start anew"
        )
    return state
