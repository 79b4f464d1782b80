"""Lab 01: ViT against a CNN of equal parameters as the number of training images grows.

labs experiment 01 data_scaling
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from labsupport.experiments.record import Run
from labsupport.labs.lab01 import data_scaling as studies
from labsupport.models.cnn import PlainCNN, cnn_with_parameters
from labsupport.models.vit import VisionTransformer
from labsupport.notebook.profile import profile as scale_of
from labsupport.profiling.counts import count_macs, count_parameters

VIT = {"patch_size": 8, "dim": 64, "depth": 4, "heads": 4, "mlp_ratio": 2}
SIZES = (4, 16, 64, 256, 1024)  # images of each concept
SEEDS = (0, 1, 2)
LONGER = 3  # times the steps, once more at the largest size: is what remains data or compute?


def make_vit() -> VisionTransformer:
    """The ViT of the experiment: 16 patches of 8 x 8 pixels."""
    return VisionTransformer(studies.IMAGE_SIZE, num_classes=studies.CONCEPTS, **VIT)


def make_cnn() -> PlainCNN:
    """A CNN with as many parameters as `make_vit()`, within 2%."""
    return cnn_with_parameters(count_parameters(make_vit()), studies.CONCEPTS)


def settings(steps: int, test_images: int) -> dict:
    """All that a record depends on, for the result file."""
    image = torch.zeros(1, 3, studies.IMAGE_SIZE, studies.IMAGE_SIZE)
    cnn = make_cnn()
    return {
        "image_size": studies.IMAGE_SIZE,
        "concepts": studies.CONCEPTS,
        "train_style": "noto",
        "other_style": "twemoji",
        "steps": steps,
        "longer_steps": LONGER * steps,
        "batch_size": studies.BATCH_SIZE,
        "weight_decay": studies.WEIGHT_DECAY,
        "learning_rates": studies.LEARNING_RATES,
        "test_images": test_images,
        "vit": VIT
        | {
            "parameters": count_parameters(make_vit()),
            "macs": count_macs(make_vit().eval(), image),
        },
        "cnn": {
            "channels": cnn.channels,
            "parameters": count_parameters(cnn),
            "macs": count_macs(cnn.eval(), image),
        },
    }


def run(
    profile: str = "cpu",
    seeds: Sequence[int] = SEEDS,
    sizes: Sequence[int] = SIZES,
    progress: bool = True,
) -> tuple[dict, list[dict], list[dict]]:
    """`studies.data_scaling_run` with the reference models; `profile` "smoke" takes two steps a
    run, the others all of them. Returns the settings, the records and two longer runs.

    The longer runs are of the largest size and the first seed with `LONGER` times the steps: with
    equal steps, the largest set is hardly seen once, so a gap that is left there need not come
    from too little data.
    """
    scale = scale_of(profile)
    steps = scale(smoke=2, cpu=studies.STEPS, gpu=studies.STEPS)
    test_images = scale(smoke=80, cpu=studies.TEST_IMAGES, gpu=studies.TEST_IMAGES)
    records = studies.data_scaling_run(
        make_vit,
        make_cnn,
        sizes=sizes,
        seeds=seeds,
        steps=steps,
        test_images=test_images,
        progress=progress,
    )
    longer = studies.data_scaling_run(
        make_vit,
        make_cnn,
        sizes=[max(sizes)],
        seeds=seeds[:1],
        steps=LONGER * steps,
        test_images=test_images,
        progress=progress,
    )
    return settings(steps, test_images), records, longer


def main(root: Path) -> None:
    """Run it all on one thread and write data/results/01_data_scaling.json."""
    this = Run(root, __name__, settings(studies.STEPS, studies.TEST_IMAGES))
    _, records, longer = run()
    this.keep(records, longer=longer)
