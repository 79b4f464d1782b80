"""What D codes a place cost: in a small transformer at every place, or one after another in a row.

    labs experiment 10 order

One thread, about five minutes. Both draw the same number of codes with the same trunk, cache and
guidance. The weights are untrained: time and MACs do not depend on them. The decoder, which both
need, is left out.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labsupport.data.stickers import stickers, tokenize
from labsupport.experiments.record import Run
from labsupport.models.hart.sampling import choose
from labsupport.models.vilau.attention import padded_mask
from labsupport.models.vilau.config import VilaUConfig
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.painting import mixed_with, paint_codes
from labsupport.models.vilau.sequence import mix
from labsupport.models.vilau.words import IGNORE, IMAGE_START, START
from labsupport.profiling.clock import measure_in_turns
from labsupport.profiling.counts import count_macs

DEPTHS, GUIDANCE, SEED = (2, 4, 8), 2.0, 0
BATCHES = (1, 32)  # images drawn together: the first for `seconds`, the last for images a second
ROUNDS, SECONDS = (5, 20), 60.0  # of every batch size

Draw = Callable[[Tensor], Tensor]


def model_of(depth: int, config: VilaUConfig | None = None) -> VilaU:
    """An untrained model with `depth` codes a place."""
    torch.manual_seed(SEED)
    config = VilaUConfig() if config is None else config
    return VilaU(
        replace(
            config,
            tower=replace(config.tower, depth=depth),
            depth=replace(config.depth, steps=depth),
        )
    ).eval()


@torch.no_grad()
def one_row(model: VilaU, head: torch.nn.Linear, text: Tensor, guidance: float) -> Tensor:
    """Codes (images, places, D) for captions (images, words), every one a token of the trunk: the
    state at a token is for the next code, by `head`, and a code's vector is the next input."""
    prompts = [[START, *caption, IMAGE_START] for caption in text.tolist()]
    prompts += [[START, IMAGE_START]] * len(text)
    mixed = mix([(words, [IGNORE] * len(words)) for words in prompts], 0, left=True)
    real, cache = mixed.real, model.trunk.new_cache()
    x = model.trunk.words(mixed.words)
    quantizer, codes = model.tower.quantizer, []
    for _ in range(model.tower.tokens * quantizer.depth):
        state = model.trunk(x, padded_mask(real)[:, -x.shape[1] :], cache)[:, -1]
        new = choose(mixed_with(*head(state).chunk(2), guidance), None)
        codes.append(new)
        x = model.projector(quantizer.codebook.embed(new))[:, None].repeat(2, 1, 1)
        real = torch.cat([real, real.new_ones(len(real), 1)], dim=1)
    return torch.stack(codes, dim=1).unflatten(1, (-1, quantizer.depth))


def orders(model: VilaU) -> dict[str, Draw]:
    """Both orders of drawing, by name."""
    head = torch.nn.Linear(model.config.trunk.dim, model.config.tower.codes)
    return {
        "depth transformer": lambda text: paint_codes(
            model, text.tolist(), GUIDANCE, temperature=0
        ),
        "one row": lambda text: one_row(model, head, text, GUIDANCE),
    }


def measure(
    depths: tuple[int, ...] = DEPTHS,
    config: VilaUConfig | None = None,
    batches: tuple[int, int] = BATCHES,
    seconds: float = SECONDS,
    rounds: tuple[int, int] = ROUNDS,
) -> list[dict]:
    """A record for every depth and order: seconds for one image (median of turns), MACs an image,
    tokens of the trunk an image has, and images a second in a batch."""
    models = {depth: model_of(depth, config) for depth in depths}
    found = {
        (depth, order): draw
        for depth, model in models.items()
        for order, draw in orders(model).items()
    }
    text = tokenize(stickers(max(batches), 16, seed=SEED).captions)
    one, many = (measure_in_turns(found, text[:n], seconds=seconds, rounds=rounds) for n in batches)
    return [
        {
            "depth": depth,
            "order": order,
            "seconds": round(one[depth, order], 6),
            "macs": count_macs(draw, text[:1]),
            "tokens": models[depth].tower.tokens * (depth if order == "one row" else 1),
            "repeats": list(rounds),
            "images a second": round(batches[1] / many[depth, order], 3),
        }
        for (depth, order), draw in found.items()
    ]


def settings() -> dict[str, Any]:
    """All that a record depends on, for the result file."""
    sizes = VilaUConfig()
    return {
        "trunk": [sizes.trunk.dim, sizes.trunk.depth, sizes.trunk.heads],
        "depth_transformer": [sizes.depth.dim, sizes.depth.depth, sizes.depth.heads],
        "places": sizes.tower.side**2,
        "depths": list(DEPTHS),
        "guidance": GUIDANCE,
        "batches": list(BATCHES),
        "rounds": list(ROUNDS),
    }


def main(root: Path) -> None:
    """Measure, and write data/results/10_order.json."""
    Run(root, __name__, settings()).keep(measure())
