"""Lab 09: one way of training for HART and everything it is compared with.

A generator is a module with `loss(images, text, generator) -> (number, parts)` and, before the
first step, `measure(images)`. A run that is killed goes on where it stopped.
"""

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from labsupport.data.stickers import stickers, tokenize
from labsupport.data.transforms import normalize

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


class Average:
    """A running mean of the trained weights: each step moves it by 1 − decay of the way (less at
    the beginning, when it has seen little)."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in trained(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10))
        now = trained(model)
        torch._foreach_lerp_(
            list(self.weights.values()), [now[name] for name in self.weights], 1 - decay
        )

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Put the mean in the place of the model's weights."""
        for name, p in trained(model).items():
            p.copy_(self.weights[name])


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn: not those of a frozen tokenizer."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def learned_state(model: nn.Module) -> dict[str, Tensor]:
    """The state to keep: all but the tokenizer's, which has a file of its own."""
    return {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith("tokenizer.")
    }


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
    parameters = trained(model)
    # vectors, norms and gains are not drawn towards 0
    decayed = [p for p in parameters.values() if p.dim() > 1]
    free = [p for p in parameters.values() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": free, "weight_decay": 0.0}],
        lr,
        betas=BETAS,
    )
    mean = Average(model, average) if average else None
    log: list[dict] = []
    sums: dict[str, Tensor] = {}  # of loss and parts since the last record
    first, before = 0, 0.0
    path = Path(checkpoint) if checkpoint else None
    if path and path.is_file():
        state = torch.load(path, weights_only=True)
        if (state["steps"], state["seed"]) != (steps, seed):
            raise ValueError(
                f"{path} is of a run of {state['steps']} steps with seed "
                f"{state['seed']}, not {steps} and {seed}; delete it to start anew"
            )
        model.load_state_dict(state["model"], strict=False)
        optimizer.load_state_dict(state["optimizer"])
        first, before = state["step"], state["seconds"]
        log, sums = state["log"], state["sums"]
        if mean:
            mean.weights = state["average"]
    else:
        model.measure(torch.cat([source(i)[0] for i in range(-(-MEASURED // len(source(0)[0])))]))
    model.train()
    start = perf_counter()

    def keep(step: int) -> None:
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save(
            {
                "model": learned_state(model),
                "optimizer": optimizer.state_dict(),
                "average": mean.weights if mean else None,
                "step": step,
                "log": log,
                "sums": sums,
                "seconds": before + perf_counter() - start,
                "steps": steps,
                "seed": seed,
            },
            part,
        )
        part.replace(path)

    last = min(steps, stop_after or steps)
    title = progress if isinstance(progress, str) else "training"
    generator = torch.Generator()
    with tqdm(
        range(first, last), initial=first, total=steps, disable=not progress, desc=title
    ) as bar:
        for step in bar:
            generator.manual_seed(seed * 1_000_003 + step)
            for group in optimizer.param_groups:
                group["lr"] = lr * rate(step, steps)
            images, text = source(step)
            loss, parts = model.loss(
                images, text, generator, **options, **(at_step(step) if at_step else {})
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters.values(), CLIP)
            optimizer.step()
            if mean:
                mean.update(model, step)
            for name, value in ({"loss": loss.detach()} | parts).items():
                sums[name] = sums.get(name, 0) + value
            if (step + 1) % EVERY == 0 or step + 1 == steps:
                count = (step % EVERY) + 1
                values = {name: round(value.item() / count, 5) for name, value in sums.items()}
                if not math.isfinite(values["loss"]):
                    raise FloatingPointError(
                        f"the loss became {values['loss']} before step "
                        f"{step + 1}; try a smaller lr than {lr:g}"
                    )
                log.append(
                    {"step": step + 1}
                    | values
                    | {
                        "lr": round(lr * rate(step, steps), 7),
                        "seconds": round(before + perf_counter() - start, 1),
                    }
                )
                sums = {}
                bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
                if on_log:
                    on_log(log[-1])
            if (step + 1) % save_every == 0:
                keep(step + 1)
    if last % save_every:
        keep(last)
    if mean and last == steps:
        mean.apply(model)
    model.eval()
    return log
