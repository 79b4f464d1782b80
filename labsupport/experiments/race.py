"""Lab 03: published accuracy against the time of one image here, for public image classifiers.

    labs experiment 03 race

Untrained weights: the time does not depend on them. Accuracies are those of the papers.
"""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
import torchvision
from torch import nn

from labsupport.experiments.record import package_versions, write_result
from labsupport.models.efficientvit.heads import classifier
from labsupport.profiling import count_macs, count_parameters
from labsupport.turns import measure_in_turns

# name -> (ImageNet-1k top-1 in %, pixels, where it is published)
PUBLISHED = {
    "EfficientViT-B1": (79.4, 224, "README of the published code"),
    "EfficientViT-B2": (82.1, 224, "README of the published code"),
    "EfficientViT-B3": (83.5, 224, "README of the published code"),
    "EfficientNetV2-B0": (78.7, 224, "README of the published code (Tan and Le, 2021)"),
    "EfficientNetV2-B1": (79.8, 240, "README of the published code (Tan and Le, 2021)"),
    "EfficientNetV2-S": (83.9, 384, "Tan and Le, 2021, table 7"),
    "PVTv2-B1": (78.7, 224, "Wang et al., 2022, table 3"),
    "PVTv2-B2": (82.0, 224, "Wang et al., 2022, table 3"),
    "Swin-T": (81.3, 224, "Liu et al., 2021, table 1"),
    "ConvNeXt-T": (82.1, 224, "Liu et al., 2022, table 1"),
}
TIMM = {"EfficientNetV2-B0": "tf_efficientnetv2_b0", "EfficientNetV2-B1": "tf_efficientnetv2_b1",
        "PVTv2-B1": "pvt_v2_b1", "PVTv2-B2": "pvt_v2_b2",
        "Swin-T": "swin_tiny_patch4_window7_224", "ConvNeXt-T": "convnext_tiny"}
ABSENT = ("SegFormer", "SegNeXt", "SwinIR", "Restormer")  # no public library here has them


def make(name: str) -> nn.Module:
    """An untrained classifier of the race, from timm or torchvision where it is not ours."""
    if name == "EfficientNetV2-S":
        return torchvision.models.efficientnet_v2_s(weights=None).eval()
    if name.startswith("EfficientViT-"):
        return classifier(name.removeprefix("EfficientViT-")).eval()
    import timm

    return timm.create_model(TIMM[name]).eval()


def on(model: nn.Module, image: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: model(image)


def run(seconds: float = 60) -> list[dict]:
    """One record a model: published accuracy, parameters, MACs, seconds of one image."""
    calls, records = {}, []
    for name, (accuracy, side, source) in PUBLISHED.items():
        model, image = make(name), torch.randn(1, 3, side, side)
        calls[name] = on(model, image)
        records.append({"model": name, "top1": accuracy, "pixels": side, "source": source,
                        "parameters": count_parameters(model), "macs": count_macs(model, image)})
    times = measure_in_turns(calls, seconds=seconds, rounds=(7, 60))
    return [record | {"seconds": round(times[record["model"]], 5)} for record in records]


def main(root: Path) -> None:
    """Run it on one thread and write data/results/03_race.json."""
    torch.set_num_threads(1)
    start = perf_counter()
    versions = package_versions()
    import timm

    settings = {"batch_size": 1, "threads": 1, "timm": timm.__version__, "absent": ABSENT,
                "torch": versions["torch"]}
    write_result(root / "data/results/03_race.json", command="labs experiment 03 race",
                 settings=settings, records=run(), seconds=perf_counter() - start)
