"""Lab 03: twice the resolution, by EfficientViT modules and by a SwinIR-like net.

    labs experiment 03 super_resolution

Also writes data/checkpoints/03_super_resolution.safetensors, the EfficientViT of the first seed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from labsupport import data
from labsupport.experiments.record import Run
from labsupport.labs.lab03.dense_prediction import downscale
from labsupport.metrics.images import brightness_psnr, brightness_ssim
from labsupport.models.apply import predict
from labsupport.models.efficientvit.heads import SuperResolution
from labsupport.models.swinir import SwinIRLike
from labsupport.profiling.counts import count_macs, count_parameters
from labsupport.training.loop import train_classifier

SIZE, SCALE = 64, 2
TRAIN_IMAGES, TEST_IMAGES = 2000, 200
TEST_SEED = 1_000_000
STEPS, BATCH_SIZE, LR, WEIGHT_DECAY = 400, 16, 2e-3, 0.02
SEEDS = (0, 1, 2)
KEPT, HELD_OUT = data.held_out(40, 0.25)

NETS: Mapping[str, Callable[[], nn.Module]] = {
    "EfficientViT": lambda: SuperResolution(dim=32, depth=2, scale=SCALE),
    "SwinIR-like": lambda: SwinIRLike(dim=32, groups=1, scale=SCALE),
}


def pictures(
    n: int, concepts: Sequence[str], split: str, seed: int, style: str = "noto"
) -> torch.Tensor:
    """Large emoji on plain backgrounds (n, 3, 64, 64): noise could not be predicted."""
    return data.scenes(
        n,
        SIZE,
        objects=(1, 2),
        concepts=concepts,
        style=style,
        split=split,
        seed=seed,
        background="plain",
        scale=(0.45, 0.9),
    ).images


def settings(
    steps: int = STEPS, train_images: int = TRAIN_IMAGES, test_images: int = TEST_IMAGES
) -> dict:
    """All that a record depends on, for the result file."""
    image = torch.zeros(1, 3, SIZE // SCALE, SIZE // SCALE)
    nets = {
        name: {"parameters": count_parameters(make()), "macs": count_macs(make().eval(), image)}
        for name, make in NETS.items()
    }
    return {
        "size": SIZE,
        "scale": SCALE,
        "train_images": train_images,
        "test_images": test_images,
        "steps": steps,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "weight_decay": WEIGHT_DECAY,
        "train_concepts": len(KEPT),
        "test_concepts": len(HELD_OUT),
        "nets": nets,
    }


def run(
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
    train_images: int = TRAIN_IMAGES,
    test_images: int = TEST_IMAGES,
    progress: bool = True,
    keep: Callable[[str, nn.Module, dict], None] | None = None,
) -> list[dict]:
    """One record a net and seed, and one for bicubic: PSNR (dB) and SSIM on the Y channel.

    Tested on concepts never trained on, in the style trained on (psnr, ssim) and in the other.
    """
    tests = {
        style: pictures(test_images, HELD_OUT, "test", TEST_SEED, style) for style in data.STYLES
    }

    def score(enlarge: Callable[[torch.Tensor], torch.Tensor]) -> dict:
        found = {}
        for style, end in (("noto", ""), ("twemoji", "_other_style")):
            outputs = enlarge(downscale(tests[style], SCALE))
            found["psnr" + end] = round(brightness_psnr(outputs, tests[style], SCALE), 3)
            found["ssim" + end] = round(brightness_ssim(outputs, tests[style], SCALE), 4)
        return found

    bicubic = score(lambda x: F.interpolate(x, scale_factor=SCALE, mode="bicubic"))
    records = [{"net": "bicubic", "seed": None} | bicubic]
    for seed in seeds:
        targets = pictures(train_images, KEPT, "train", seed)
        inputs = downscale(targets, SCALE)
        for name, make in NETS.items():
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                net = make()
            history = train_classifier(
                net,
                inputs,
                targets,
                steps=steps,
                batch_size=BATCH_SIZE,
                lr=LR,
                weight_decay=WEIGHT_DECAY,
                seed=seed,
                loss_of=F.l1_loss,
                progress=f"{name}, seed {seed}" if progress else False,
            )
            record = {"net": name, "seed": seed} | score(lambda x, net=net: predict(net, x))
            records.append(record | {"seconds": round(history.seconds, 1)})
            print(records[-1], flush=True)
            if keep and seed == seeds[0]:
                keep(name, net, record)
    return records


def main(root: Path) -> None:
    """Run it on one thread; write the checkpoint and data/results/03_super_resolution.json."""
    this = Run(root, __name__, settings())

    def keep(name: str, net: nn.Module, record: dict) -> None:
        if name == "EfficientViT":
            notes = {"seed": str(SEEDS[0]), "psnr": f"{record['psnr']:.3f}"}
            this.ship(net, "03_super_resolution", **notes)

    this.keep(run(keep=keep))
