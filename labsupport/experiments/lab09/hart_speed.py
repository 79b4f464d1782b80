"""Lab 09: how long HART and what it is compared with take for an image, and how much they compute.

    labs experiment 09 hart_speed

One thread, a few minutes, guidance on, the decoder included. The networks are untrained: time
does not depend on what the weights are.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from labsupport.data.stickers import TEXT_LENGTH, VOCABULARY, stickers, tokenize
from labsupport.experiments.lab08.hart_tokenizer import SIZE, lab_tokenizer
from labsupport.experiments.lab09.hart_generation import DEPTH, DIM, HEADS, WIDTH, lab_hart
from labsupport.experiments.record import write_result
from labsupport.models.hart.rivals.diffusion_transformer import DiffusionTransformer
from labsupport.models.hart.rivals.masked import MaskedAR
from labsupport.models.hart.rivals.raster import RasterAR
from labsupport.models.hart.tokenizer import HybridTokenizer
from labsupport.profiling.clock import measure_in_turns
from labsupport.profiling.counts import count_macs

GUIDANCE, BATCHES, SEED = 1.0, (1, 32), 0
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
    tokenizer, net = lab_tokenizer(), dict(dim=DIM, depth=DEPTH, heads=HEADS)
    codes = len(tokenizer.quantizer.codebook.weight)
    flat = HybridTokenizer(SIZE, tokenizer.dim, codes, scales=(tokenizer.quantizer.side,))
    hart = lab_hart(tokenizer).eval()
    raster = RasterAR(flat, len(VOCABULARY), TEXT_LENGTH, **net).eval()
    diffusion = DiffusionTransformer(tokenizer, len(VOCABULARY), TEXT_LENGTH, **net).eval()

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
        blanks = MaskedAR(tokenizer, len(VOCABULARY), TEXT_LENGTH, **net, width=WIDTH).eval()
        found["MAR-like"] = lambda text: blanks.generate(
            text, guidance=GUIDANCE, seed=SEED, **MASKED
        )
    return found


def captions(n: int) -> Tensor:
    """Tokens of n captions, (n, words)."""
    return tokenize(stickers(n, SIZE, seed=SEED).captions)


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
    torch.set_num_threads(1)
    start = perf_counter()
    records = measure(systems())
    write_result(
        root / "data/results/09_hart_speed.json",
        records=records,
        command="labs experiment 09 hart_speed",
        seconds=perf_counter() - start,
        settings={
            "net": [DIM, DEPTH, HEADS, WIDTH],
            "guidance": GUIDANCE,
            "batches": list(BATCHES),
            "residual_steps": RESIDUAL_STEPS,
            "diffusion_steps": list(DIFFUSION_STEPS),
            "masked": MASKED,
            "rounds": list(ROUNDS),
        },
    )
