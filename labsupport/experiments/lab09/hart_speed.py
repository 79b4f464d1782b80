"""Time and MACs that HART and what it is compared with take for an image (lab 09).

    labs experiment 09 hart_speed

One thread, a few minutes, guidance on, the decoder included. The networks are untrained: time
does not depend on what the weights are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from labsupport.data.stickers import stickers, tokenize
from labsupport.experiments.record import Run
from labsupport.models.hart.config import HartConfig
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.rivals.diffusion_transformer import DiffusionTransformer
from labsupport.models.hart.rivals.masked import MaskedAR
from labsupport.models.hart.rivals.raster import RasterAR
from labsupport.models.hart.tokenizer import new_tokenizer
from labsupport.profiling.clock import measure_in_turns
from labsupport.profiling.counts import count_macs

NET, GUIDANCE, BATCHES, SEED = HartConfig(), 1.0, (1, 32), 0
RESIDUAL_STEPS = 8
DIFFUSION_STEPS = (4, 10, 20, 30, 50)
MASKED = {"iterations": 16, "steps": 30}
ROUNDS, SECONDS = (5, 20), 40.0  # of every batch size

System = Callable[[Tensor], Tensor]


def systems(
    diffusion_steps: Sequence[int] = DIFFUSION_STEPS, masked: bool = True
) -> dict[str, System]:
    """Functions from captions (batch, words) to images (batch, 3, size, size), by name."""
    torch.manual_seed(SEED)
    tokenizer = new_tokenizer(NET)
    words, net = (
        (NET.vocabulary, NET.text_length),
        dict(dim=NET.dim, depth=NET.depth, heads=NET.heads),
    )
    flat = new_tokenizer(replace(NET, scales=NET.scales[-1:]))
    hart = Hart(NET, tokenizer).eval()
    raster = RasterAR(flat, *words, **net).eval()
    diffusion = DiffusionTransformer(tokenizer, *words, **net).eval()

    def denoised(steps: int) -> System:
        return lambda text: diffusion.generate(text, steps, GUIDANCE, SEED)

    found: dict[str, System] = {
        "HART": lambda text: hart.generate(text, RESIDUAL_STEPS, GUIDANCE, SEED),
        "VAR (no residual)": lambda text: hart.generate(text, 0, GUIDANCE, SEED, residual=False),
        "HART, no cache": lambda text: hart.generate(
            text, RESIDUAL_STEPS, GUIDANCE, SEED, cache=False
        ),
        "raster order": lambda text: raster.generate(text, 0, GUIDANCE, SEED),
    }
    found |= {f"diffusion, {steps} steps": denoised(steps) for steps in diffusion_steps}
    if masked:
        blanks = MaskedAR(tokenizer, *words, **net, width=NET.residual_width).eval()
        found["MAR-like"] = lambda text: blanks.generate(
            text, guidance=GUIDANCE, seed=SEED, **MASKED
        )
    return found


def captions(n: int) -> Tensor:
    """Tokens of n captions, (n, words)."""
    return tokenize(stickers(n, NET.size, seed=SEED).captions)


def measure(
    found: Mapping[str, System],
    batches: Sequence[int] = BATCHES,
    seconds: float = SECONDS,
    rounds: tuple[int, int] = ROUNDS,
) -> list[dict]:
    """One record a system and batch size: seconds a batch (median), and MACs an image."""
    macs = {name: count_macs(system, captions(1)) for name, system in found.items()}
    records = []
    for batch in batches:
        times = measure_in_turns(found, captions(batch), seconds=seconds, rounds=rounds)
        records += [
            {
                "system": name,
                "batch": batch,
                "seconds": round(times[name], 6),
                "images a second": round(batch / times[name], 3),
                "macs": macs[name],
            }
            for name in found
        ]
    return records


def main(root: Path) -> None:
    """Measure, and write data/results/09_hart_speed.json."""
    settings = {
        "net": [NET.dim, NET.depth, NET.heads, NET.residual_width],
        "guidance": GUIDANCE,
        "batches": list(BATCHES),
        "residual_steps": RESIDUAL_STEPS,
        "diffusion_steps": list(DIFFUSION_STEPS),
        "masked": MASKED,
        "rounds": list(ROUNDS),
    }
    run = Run(root, __name__, settings)
    run.keep(measure(systems()))
