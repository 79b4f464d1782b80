"""Forward time of the reference EfficientViT against timm's, equal weights. Run by `make bench`.

One thread, one process, processor time. The two take turns, so that what else the machine does
meets both; the ratio is that of the medians. Wanted: at most 1.05.
"""

from __future__ import annotations

import sys
from functools import partial

import torch

from labsupport.models.efficientvit.attention import MultiScaleAttention, relu_linear_attention
from labsupport.models.efficientvit.heads import classifier
from labsupport.models.efficientvit.timm_weights import load_timm_weights
from labsupport.profiling.clock import measure_in_turns

WANTED = 1.05
ROUNDS = {"B0": 60, "B1": 40, "B2": 20, "B3": 12, "L1": 12, "L2": 10}


@torch.no_grad()
def main() -> None:
    import timm

    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, timm {timm.__version__}, 1 thread, batch 1, 224 px\n")
    print(f"{'':4}{'ours, ms':>12}{'timm, ms':>12}{'ratio':>9}{'wanted':>9}")
    images = torch.randn(1, 3, 224, 224)
    slow = False
    for name, rounds in ROUNDS.items():
        theirs = timm.create_model(f"efficientvit_{name.lower()}").eval()
        ours = classifier(name).eval()
        load_timm_weights(ours, theirs.state_dict())
        for part in ours.modules():
            if isinstance(part, MultiScaleAttention):
                part.attention = partial(relu_linear_attention, eps=1e-5)
        assert torch.allclose(ours(images), theirs(images), rtol=1e-3, atol=1e-4)
        times = measure_in_turns({"ours": ours, "timm": theirs}, images, rounds=(rounds, rounds))
        mine, other = (1000 * times[label] for label in ("ours", "timm"))
        slow |= mine > WANTED * other
        print(f"{name:4}{mine:12.1f}{other:12.1f}{mine / other:9.3f}{WANTED:9.2f}")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
