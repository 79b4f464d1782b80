"""Lab 05: which windows may be skipped, and what that costs in quality.

    labs experiment 05 sparsity

For each of three seeds a small Swin learns to segment scenes; with the first one's backbone
another three learn to name single drawings. Each is asked with 0 to 80% of its windows skipped,
chosen in five ways, and with smaller images. The segmenters learn on for a while in four ways (with
random layouts under two scores, as they are, and at random sizes) and are asked again. Also writes
05_sparsevit_dense.safetensors, the segmenter of the first seed, and 05_sparsevit.safetensors, the
same after sparsity-aware training with the centred score. Results are written after every net;
started again with the same settings, it goes on where it stopped.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.data import scenes, singles
from labsupport.data.transforms import normalize
from labsupport.experiments.record import Records, resume
from labsupport.metrics.segmentation import class_iou
from labsupport.models.layouts import CHOICES, random_layout
from labsupport.models.sparsevit import (
    SparseSegmenter,
    SparseSwin,
    centred,
    dense_layout,
    magnitude,
    window_scores,
)
from labsupport.models.weights import load_checkpoint
from labsupport.profiling.clock import measure_in_turns
from labsupport.profiling.counts import count_macs, count_parameters
from labsupport.training.loop import train_classifier

DIM, DEPTHS, HEADS, WINDOW, PATCH = 32, (2, 4), (2, 4), 4, 4
PAIRS = (1, 2)
SIZE, CONCEPTS = 128, 8
SCENES = {"objects": (1, 3), "scale": (0.15, 0.3)}
SINGLES = {"scale": (0.25, 0.4)}
TRAIN_IMAGES, TEST_IMAGES, TEST_SEED = 1200, 120, 1_000_000
STEPS, TUNE_STEPS, BATCH_SIZE = {"segmentation": 180, "classification": 80}, 50, 16
LR, TUNE_LR, WEIGHT_DECAY = {"segmentation": 2e-3, "classification": 1e-3}, 5e-4, 0.05
BACKGROUND_WEIGHT = 0.2  # nine tenths of the pixels are background
RATIOS = (0.2, 0.4, 0.6, 0.8)
SIZES = (112, 96, 80, 64)
SCORES = ("magnitude", "smallest", "centred", "random", "oracle")
SEEDS = (0, 1, 2)
TASKS = ("segmentation", "classification")
TRAININGS = ("dense", "dense, longer", "sparse, magnitude", "sparse, centred", "any size")
CHECKPOINTS = {
    ("segmentation", 0, "dense"): "05_sparsevit_dense",
    ("segmentation", 0, "sparse, centred"): "05_sparsevit",
}


def lab_net(task: str = "segmentation") -> SparseSwin:
    """The lab's net for a task, untrained."""
    if task == "segmentation":
        return SparseSegmenter(CONCEPTS + 1, DIM, DEPTHS, HEADS, WINDOW, PATCH)
    return SparseSwin(CONCEPTS, DIM, DEPTHS, HEADS, WINDOW, PATCH)


def data_of(task: str, n: int, split: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images in [-1, 1], what is right, and where something is drawn: (n, 1, SIZE, SIZE)."""
    common = {"concepts": CONCEPTS, "style": "noto", "split": split, "seed": seed}
    if task == "segmentation":
        batch = scenes(n, SIZE, **SCENES, **common)
        right = batch.masks
    else:
        batch = singles(n, SIZE, **SINGLES, **common)
        right = batch.labels
    return normalize(batch.images), right, (batch.masks > 0).float()[:, None]


def loss_of(logits: Tensor, right: Tensor) -> Tensor:
    """Cross-entropy of every image, or of every pixel with background counting less. Pixel logits
    of a smaller image are enlarged first."""
    if logits.dim() == 2:
        return F.cross_entropy(logits, right)
    weight = logits.new_ones(logits.shape[1])
    weight[0] = BACKGROUND_WEIGHT
    return F.cross_entropy(_enlarged(logits, right.shape[-1]), right, weight=weight)


def importance_of(
    score: str, foreground: Tensor, generator: torch.Generator
) -> Callable[[Tensor], Tensor]:
    """A function of a stage's tokens that scores them; the oracle looks at the masks instead."""
    if score == "oracle":  # windows near something before windows near nothing
        wide = foreground + 0.01 * F.avg_pool2d(foreground, 33, 1, 16)
        return lambda x: F.adaptive_avg_pool2d(wide, x.shape[1:3])[:, 0]
    if score == "random":
        return lambda x: torch.rand(x.shape[:3], generator=generator)
    return {"magnitude": magnitude, "smallest": smallest, "centred": centred}[score]


def smallest(x: Tensor) -> Tensor:
    """The published score upside down, as a control: (batch, rows, columns)."""
    importance = magnitude(x)
    return importance.amax(dim=(1, 2), keepdim=True) - importance


@torch.no_grad()
def quality_of(
    net: SparseSwin,
    data: tuple[Tensor, Tensor, Tensor],
    layout: Sequence,
    score: str = "magnitude",
    size: int = SIZE,
) -> float:
    """mIoU or accuracy (0 to 1) with a layout and a score, or of images made smaller."""
    images, right, foreground = data
    generator = torch.Generator().manual_seed(0)
    answers = []
    net.eval()
    net.layout = layout
    for x, mask in zip(images.split(32), foreground.split(32)):
        net.importance = importance_of(score, mask, generator)
        logits = net(_resized(x, size))
        answers.append((_enlarged(logits, SIZE) if logits.dim() == 4 else logits).argmax(1))
    net.layout, net.importance = dense_layout(DEPTHS), magnitude
    answers = torch.cat(answers)
    if right.dim() == 1:
        return (answers == right).float().mean().item()
    return class_iou(answers, right, CONCEPTS + 1).nanmean().item()


@torch.no_grad()
def foreground_auc(net: SparseSwin, images: Tensor, foreground: Tensor) -> list[dict]:
    """How well each score ranks windows that show something above windows that show nothing.

    The area under the ROC curve: 1 is perfect, 0.5 is chance, 0 is upside down. At the places
    where a stage scores its windows, and after the blocks of the stage.
    """
    found = []
    net.eval()
    x = net.patch_embed(images)
    for number, stage in enumerate(net.layers, 1):
        start = stage.downsample(x)
        x = stage.blocks(start)
        for place, tokens in (("input", start), ("output", x)):
            share = F.adaptive_avg_pool2d(foreground, tokens.shape[1:3])[:, 0]
            shows = window_scores(share, WINDOW) > 0
            for name, importance in (("magnitude", magnitude), ("centred", centred)):
                values = window_scores(importance(tokens), WINDOW)
                found.append(
                    {
                        "stage": number,
                        "place": place,
                        "score": name,
                        "auc": round(_auc(values, shows), 4),
                    }
                )
    return found


def shipped_backbone() -> dict[str, Tensor]:
    """Patch embedding and stages of the shipped dense segmenter. From nothing, the classifier does
    not learn in a few minutes: a small thing is a small share of the mean over all tokens."""
    net = lab_net()
    load_checkpoint(net, CHECKPOINTS["segmentation", 0, "dense"])
    return {
        name: value
        for name, value in net.state_dict().items()
        if name.startswith(("patch_embed.", "layers."))
    }


def adapt(net: nn.Module, seed: int, kind: str) -> Callable[[], None]:
    """Make `net` change its layout, or its images' size, before each step of training; returns
    what undoes it."""
    rng = random.Random(seed)

    def before(module: SparseSwin, inputs: tuple) -> tuple | None:
        if not module.training:
            return None
        if kind == "any size":
            return (_resized(inputs[0], rng.choice((SIZE, *SIZES))),)
        if kind.startswith("sparse"):
            module.layout = random_layout(PAIRS, rng, CHOICES)
            module.importance = centred if "centred" in kind else magnitude
        return None

    return net.register_forward_pre_hook(before).remove


def settings(train_images: int = TRAIN_IMAGES, test_images: int = TEST_IMAGES) -> dict:
    """All that a record depends on, for the result file."""
    with torch.device("meta"):
        nets = {task: lab_net(task).eval() for task in TASKS}
        image = torch.zeros(1, 3, SIZE, SIZE)
    return {
        "dim": DIM,
        "depths": DEPTHS,
        "heads": HEADS,
        "window": WINDOW,
        "patch": PATCH,
        "size": SIZE,
        "concepts": CONCEPTS,
        "scenes": SCENES,
        "singles": SINGLES,
        "train_images": train_images,
        "test_images": test_images,
        "tune_steps": TUNE_STEPS,
        "batch_size": BATCH_SIZE,
        "tune_lr": TUNE_LR,
        "weight_decay": WEIGHT_DECAY,
        "background_weight": BACKGROUND_WEIGHT,
        "ratios": RATIOS,
        "sizes": SIZES,
        "nets": {
            task: {
                "parameters": count_parameters(net),
                "macs": count_macs(net, image),
                "steps": STEPS[task],
                "lr": LR[task],
            }
            for task, net in nets.items()
        },
    }


def run(
    seeds: Sequence[int] = SEEDS,
    tasks: Sequence[str] = TASKS,
    trainings: Sequence[str] = TRAININGS,
    most_steps: int = 10**6,
    train_images: int = TRAIN_IMAGES,
    test_images: int = TEST_IMAGES,
    progress: bool = True,
    done: Sequence[dict] = (),
    keep: Callable[[SparseSwin, list[dict]], None] | None = None,
) -> list[dict]:
    """One record a net: task, seed, training, `quality` by score and ratio or by size, and `auc`.

    A net that trains on begins with the weights of the dense one of its seed. What is in the
    records `done` is not repeated; `keep(net, records)` is called after every net.
    """
    records = Records(done)
    for task in tasks:
        for seed in seeds:
            names = trainings if task == "segmentation" else trainings[:1]
            if all(records.have(task=task, seed=seed, training=name) for name in names):
                continue
            test = data_of(task, test_images, "test", TEST_SEED)
            images, right, _ = data_of(task, train_images, "train", seed)
            dense_state: dict[str, Tensor] = {}
            for name in names:
                known = records.have(task=task, seed=seed, training=name)
                if known and name != "dense":
                    continue
                with torch.random.fork_rng():
                    torch.manual_seed(seed)
                    net = lab_net(task)
                untrained = foreground_auc(net, test[0], test[2]) if name == "dense" else None
                if task == "classification":
                    net.load_state_dict(shipped_backbone(), strict=False)
                steps, lr = (STEPS[task], LR[task]) if name == "dense" else (TUNE_STEPS, TUNE_LR)
                if name != "dense":
                    net.load_state_dict(dense_state)
                undo = adapt(net, seed, name)
                history = train_classifier(
                    net,
                    images,
                    right,
                    steps=min(steps, most_steps),
                    batch_size=BATCH_SIZE,
                    lr=lr,
                    weight_decay=WEIGHT_DECAY,
                    loss_of=loss_of,
                    seed=seed if name == "dense" else seed + 100,
                    progress=f"{task}, {name}, seed {seed}" if progress else False,
                )
                undo()
                net.layout, net.importance = dense_layout(DEPTHS), magnitude
                if name == "dense":
                    dense_state = {key: value.clone() for key, value in net.state_dict().items()}
                if known:
                    continue
                record = {
                    "task": task,
                    "seed": seed,
                    "training": name,
                    "loss": round(history.last_loss(10), 4),
                    "seconds": round(history.seconds, 1),
                    "quality": qualities(net, test),
                    "auc": foreground_auc(net, test[0], test[2]),
                }
                if untrained:
                    record["auc untrained"] = untrained
                records.append(record)
                if keep:
                    keep(net, records)
    return records


def qualities(net: SparseSwin, data: tuple[Tensor, Tensor, Tensor]) -> dict:
    """Quality by score and ratio, and by size of the image."""
    dense = dense_layout(DEPTHS)
    found: dict = {"dense": round(quality_of(net, data, dense), 4)}
    for score in SCORES:
        found[score] = {str(r): round(quality_of(net, data, uniform(r), score), 4) for r in RATIOS}
    found["smaller image"] = {str(s): round(quality_of(net, data, dense, size=s), 4) for s in SIZES}
    return found


def uniform(ratio: float) -> tuple[tuple[float, ...], ...]:
    """The layout with one ratio everywhere."""
    return tuple((ratio,) * n for n in PAIRS)


def with_layout(net: SparseSwin, layout: Sequence, size: int = SIZE) -> Callable[[Tensor], Tensor]:
    """`net` with a layout, for images that are first made smaller, as a function to be timed."""

    def call(images: Tensor) -> Tensor:
        net.layout = layout
        return net(_resized(images, size))

    return call


def latencies(seconds: float = 30.0, batch: int = 8) -> list[dict]:
    """Seconds of the segmenter for one image, by ratio and by size, taking turns; gather, scatter
    and the choice of windows included, on one thread and `batch` images at once."""
    net = lab_net().eval()
    images = torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    ways = {("ratio", r): with_layout(net, uniform(r)) for r in (0.0, *RATIOS)}
    ways |= {("size", s): with_layout(net, dense_layout(DEPTHS), s) for s in SIZES}
    times = measure_in_turns(ways, images, seconds=seconds)
    return [{kind: value, "seconds": t / batch} for (kind, value), t in times.items()]


def main(root: Path) -> None:
    """Run it on one thread; write two checkpoints and data/results/05_sparsity.json."""
    this = resume(root, __name__, settings())
    times = this.more.get("latency") or latencies()

    def keep(net: SparseSwin, records: list[dict]) -> None:
        last = records[-1]
        name = CHECKPOINTS.get((last["task"], last["seed"], last["training"]))
        if name:
            this.ship(net, name, miou=str(last["quality"]["dense"]))
        this.keep(records, latency=times)

    run(done=this.records, keep=keep)


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def _enlarged(logits: Tensor, size: int) -> Tensor:
    if logits.shape[-1] == size:
        return logits
    return F.interpolate(logits, size=(size, size), mode="bilinear")


def _auc(values: Tensor, positive: Tensor) -> float:
    """Mean over images of the share of pairs (shows something, shows nothing) in right order."""
    found = []
    for row, shows in zip(values, positive):
        high, low = row[shows][:, None], row[~shows][None]
        if high.numel() and low.numel():
            found.append(((high > low).float() + 0.5 * (high == low).float()).mean().item())
    return sum(found) / len(found) if found else float("nan")
