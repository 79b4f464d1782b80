"""Lab 03: published quality against the time of one image here, for public networks.

    labs experiment 03 race

Image classifiers at the size they are published for, and segmentation networks at Cityscapes' full
1024 x 2048 pixels. Untrained weights: the time does not depend on them. Accuracies and mIoU are
those of the papers.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

from labsupport.experiments.record import Run, package_versions
from labsupport.models.efficientvit.heads import classifier, segmenter
from labsupport.profiling.clock import measure_in_turns
from labsupport.profiling.counts import count_macs, count_parameters

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
TIMM = {
    "EfficientNetV2-B0": "tf_efficientnetv2_b0",
    "EfficientNetV2-B1": "tf_efficientnetv2_b1",
    "PVTv2-B1": "pvt_v2_b1",
    "PVTv2-B2": "pvt_v2_b2",
    "Swin-T": "swin_tiny_patch4_window7_224",
    "ConvNeXt-T": "convnext_tiny",
}

# name -> (mIoU on Cityscapes' validation images in %, one scale, where it is published)
STREETS = {
    "EfficientViT-B0": (75.7, "README of the published code"),
    "EfficientViT-B1": (80.5, "README of the published code"),
    "EfficientViT-B2": (82.1, "README of the published code"),
    "SegFormer-B0": (76.2, "Xie et al., 2021, table 1"),
    "SegFormer-B1": (78.5, "Xie et al., 2021, table 1"),
    "SegFormer-B2": (81.0, "Xie et al., 2021, table 1"),
}
STREET = (1024, 2048)  # pixels
# what SegFormer's sizes differ in: blocks a stage, channels a stage, channels of the head
MIX_TRANSFORMERS = {
    "B0": ([2, 2, 2, 2], [32, 64, 160, 256], 256),
    "B1": ([2, 2, 2, 2], [64, 128, 320, 512], 256),
    "B2": ([3, 4, 6, 3], [64, 128, 320, 512], 768),
}
ABSENT = ("SegNeXt", "SwinIR", "Restormer")  # not in timm, torchvision or transformers


def make(name: str) -> nn.Module:
    """An untrained classifier of the race, from timm or torchvision where it is not ours."""
    if name == "EfficientNetV2-S":
        return torchvision.models.efficientnet_v2_s(weights=None).eval()
    if name.startswith("EfficientViT-"):
        return classifier(name.removeprefix("EfficientViT-")).eval()
    import timm

    return timm.create_model(TIMM[name]).eval()


def make_segmenter(name: str) -> nn.Module:
    """An untrained segmentation network for Cityscapes' 19 classes; SegFormer is transformers'."""
    family, size = name.split("-")
    if family == "EfficientViT":
        return segmenter(size, "cityscapes").eval()
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    depths, widths, head = MIX_TRANSFORMERS[size]
    config = SegformerConfig(
        depths=depths, hidden_sizes=widths, decoder_hidden_size=head, num_labels=19
    )
    return SegformerForSemanticSegmentation(config).eval()


def on(model: nn.Module, image: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: model(image)


def run(seconds: float = 60) -> list[dict]:
    """One record a model: published accuracy, parameters, MACs, seconds of one image."""
    calls, records = {}, []
    for name, (accuracy, side, source) in PUBLISHED.items():
        model, image = make(name), torch.randn(1, 3, side, side)
        calls[name] = on(model, image)
        records.append(
            {
                "model": name,
                "top1": accuracy,
                "pixels": side,
                "source": source,
                "parameters": count_parameters(model),
                "macs": count_macs(model, image),
            }
        )
    times = measure_in_turns(calls, seconds=seconds, rounds=(7, 60))
    return [record | {"seconds": round(times[record["model"]], 5)} for record in records]


def run_streets(seconds: float = 60) -> list[dict]:
    """One record a segmentation network: published mIoU, parameters, MACs, seconds of one image."""
    image, calls, records = torch.randn(1, 3, *STREET), {}, []
    for name, (miou, source) in STREETS.items():
        model = make_segmenter(name)
        calls[name] = on(model, image)
        records.append(
            {
                "model": name,
                "miou": miou,
                "pixels": list(STREET),
                "source": source,
                "parameters": count_parameters(model),
                "macs": count_macs(model, image),
            }
        )
    times = measure_in_turns(calls, seconds=seconds, rounds=(3, 20))
    return [record | {"seconds": round(times[record["model"]], 4)} for record in records]


def main(root: Path) -> None:
    """Run it on one thread and write data/results/03_race.json."""
    import timm
    import transformers

    settings = {
        "batch_size": 1,
        "threads": 1,
        "timm": timm.__version__,
        "absent": ABSENT,
        "torch": package_versions()["torch"],
        "transformers": transformers.__version__,
    }
    this = Run(root, __name__, settings)
    this.keep(run(), streets=run_streets())
