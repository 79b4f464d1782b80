"""Reference models against timm's with equal weights, on one thread. Run by `make bench`.

Both models take turns, so that whatever else the machine does disturbs them alike; the ratio of
the medians is what counts, and it must stay below 1.05.
"""

from __future__ import annotations

import statistics
import time

import timm
import torch

from labsupport.models.swin import swin
from labsupport.models.vit import vit

RUNS = 15
WANTED = 1.05
PAIRS = (  # timm's name, ours, images in a batch
    ("vit_tiny_patch16_224", lambda: vit("Ti", 16), 4),
    ("vit_small_patch16_224", lambda: vit("S", 16), 1),
    ("swin_tiny_patch4_window7_224", lambda: swin("T"), 1),
    ("swin_tiny_patch4_window7_224", lambda: swin("T"), 4),
    ("swin_small_patch4_window7_224", lambda: swin("S"), 1),
)


def medians(models: list[torch.nn.Module], images: torch.Tensor) -> list[float]:
    """Median seconds of a forward pass of each model; the models take turns."""
    times: list[list[float]] = [[] for _ in models]
    for run in range(RUNS + 2):
        for model, found in zip(models, times):
            start = time.perf_counter()
            model(images)
            if run >= 2:  # two rounds of warm-up
                found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in times]


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, timm {timm.__version__}, 1 thread, median of {RUNS} runs, "
        f"taking turns\n"
    )
    print(f"{'':32}{'batch':>6}{'timm, ms':>11}{'ours, ms':>11}{'ratio':>8}")
    for name, make, batch in PAIRS:
        theirs, ours = timm.create_model(name).eval(), make().eval()
        ours.load_state_dict(theirs.state_dict())
        images = torch.rand(batch, 3, 224, 224)
        assert torch.allclose(ours(images), theirs(images), rtol=1e-3, atol=1e-4)
        them, us = medians([theirs, ours], images)
        note = "" if us <= WANTED * them else f"  above {WANTED}"
        print(f"{name:32}{batch:6}{1000 * them:11.1f}{1000 * us:11.1f}{us / them:8.3f}{note}")


if __name__ == "__main__":
    main()
