"""Lab 03: which nets can segment a scene whose classes depend on a sign far away?

    labs experiment 03 segmentation

Also writes data/checkpoints/03_efficientvit.safetensors and 03_segformer.safetensors: the nets of
the first seed. Results are written after every net; started again with the same settings, it goes
on where it stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.data.rule_scenes import CLASSES, rule_scenes
from labsupport.data.transforms import normalize
from labsupport.experiments.record import Records, resume
from labsupport.metrics.segmentation import class_iou
from labsupport.models.apply import predict
from labsupport.models.efficientvit.attention import MultiScaleAttention, softmax_attention
from labsupport.models.efficientvit.heads import small_segmenter
from labsupport.models.segformer import SegFormerLike
from labsupport.profiling.counts import count_macs, count_parameters
from labsupport.training.loop import train_classifier

WIDTHS, DEPTHS, HEAD_DIM, HEAD_WIDTH = (16, 32, 48, 64), (1, 1, 1, 1), 16, 32
SIZE = 96
TRAIN_IMAGES, TEST_IMAGES = 3000, 400
TEST_SEED = 1_000_000
BATCH_SIZE, WEIGHT_DECAY = 16, 0.05
CLASS_WEIGHTS = (0.2, 1.0, 1.0, 1.0)  # nine tenths of the pixels are background
STEPS, LR = 300, 3e-3
STEPS_SEGFORMER, LR_SEGFORMER = 500, 1e-3  # slower learners; at LR they do not find the sign
SEEDS = (0, 1, 2)
CHECKPOINTS = {"EfficientViT": "03_efficientvit", "SegFormer-like, softmax": "03_segformer"}


NETS: Mapping[str, Callable[[], nn.Module]] = {
    "EfficientViT": small_segmenter,
    "without multi-scale": lambda: small_segmenter(
        lambda dim: MultiScaleAttention(dim, HEAD_DIM, ())
    ),
    "softmax for ReLU": lambda: small_segmenter(
        lambda dim: MultiScaleAttention(dim, HEAD_DIM, attention=softmax_attention)
    ),
    "without attention": lambda: small_segmenter(lambda dim: nn.Identity()),
    "SegFormer-like": lambda: SegFormerLike(
        len(CLASSES), (32, 48, 64), reductions=(8, 4, 2), width=54
    ),
    "SegFormer-like, softmax": lambda: SegFormerLike(
        len(CLASSES), (16, 32, 64), reductions=(1, 1, 1), width=48
    ),
}


def schedule_of(name: str) -> tuple[int, float]:
    """Steps and peak learning rate of a net."""
    return (STEPS_SEGFORMER, LR_SEGFORMER) if name.startswith("SegFormer") else (STEPS, LR)


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of every pixel, background counting less."""
    return F.cross_entropy(logits, targets, weight=logits.new_tensor(CLASS_WEIGHTS))


def settings(train_images: int = TRAIN_IMAGES, test_images: int = TEST_IMAGES) -> dict:
    """All that a record depends on, for the result file."""
    image = torch.zeros(1, 3, SIZE, SIZE, device="meta")
    nets = {}
    for name, make in NETS.items():
        with torch.device("meta"):
            net = make().eval()
        nets[name] = {
            "parameters": count_parameters(net),
            "macs": count_macs(net, image),
            "steps": schedule_of(name)[0],
            "lr": schedule_of(name)[1],
        }
    return {
        "size": SIZE,
        "train_images": train_images,
        "test_images": test_images,
        "batch_size": BATCH_SIZE,
        "weight_decay": WEIGHT_DECAY,
        "class_weights": CLASS_WEIGHTS,
        "classes": CLASSES,
        "widths": WIDTHS,
        "depths": DEPTHS,
        "head_dim": HEAD_DIM,
        "head_width": HEAD_WIDTH,
        "nets": nets,
    }


def run(
    seeds: Sequence[int] = SEEDS,
    nets: Sequence[str] = tuple(NETS),
    most_steps: int = 10**6,
    train_images: int = TRAIN_IMAGES,
    test_images: int = TEST_IMAGES,
    progress: bool = True,
    done: Sequence[dict] = (),
    keep: Callable[[str, nn.Module, list[dict]], None] | None = None,
) -> list[dict]:
    """One record a net and seed: mIoU, and IoU of each class, on held-out scenes (0 to 1).

    A seed fixes the initial weights, the scenes and their order; all nets meet the same scenes.
    No net takes more than `most_steps`. What is in the records `done` is not repeated.
    `keep(name, net, records)` is called after every net with all records so far.
    """
    test = rule_scenes(test_images, SIZE, split="test", seed=TEST_SEED)
    records = Records(done)
    for seed in seeds:
        train = rule_scenes(train_images, SIZE, split="train", seed=seed)
        images = normalize(train.images)
        for name in nets:
            if records.have(net=name, seed=seed):
                continue
            steps, lr = schedule_of(name)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                net = NETS[name]()
            history = train_classifier(
                net,
                images,
                train.targets,
                steps=min(steps, most_steps),
                batch_size=BATCH_SIZE,
                lr=lr,
                weight_decay=WEIGHT_DECAY,
                seed=seed,
                loss_of=loss_of,
                progress=f"{name}, seed {seed}" if progress else False,
            )
            found = predict(net, normalize(test.images)).argmax(1)
            iou = class_iou(found, test.targets, len(CLASSES))
            records.append(
                {
                    "net": name,
                    "seed": seed,
                    "miou": round(iou.nanmean().item(), 4),
                    "iou": [round(v, 4) for v in iou.tolist()],
                    "loss": round(history.last_loss(20), 4),
                    "seconds": round(history.seconds, 1),
                }
            )
            if keep:
                keep(name, net, records)
    return records


def main(root: Path) -> None:
    """Run it on one thread; write two checkpoints and data/results/03_segmentation.json."""
    this = resume(root, __name__, settings())

    def keep(name: str, net: nn.Module, records: list[dict]) -> None:
        record = records[-1]
        if name in CHECKPOINTS and record["seed"] == SEEDS[0]:
            notes = {"net": name, "seed": str(SEEDS[0]), "miou": f"{record['miou']:.4f}"}
            this.ship(net, CHECKPOINTS[name], **notes)
        this.keep(records)

    run(done=this.records, keep=keep)
