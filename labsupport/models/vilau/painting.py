"""Images from captions: places one after another by the trunk, D codes each by the depth
transformer, with guidance mixed at every depth.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.data.transforms import to_unit
from labsupport.models.hart.attention import Cache
from labsupport.models.hart.sampling import Draws, choose
from labsupport.models.vilau.attention import padded_mask
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.sequence import mix
from labsupport.models.vilau.words import IGNORE, IMAGE_START, START

GUIDANCE, TOP_K, TOP_P = 3.0, 900, 0.96  # of the published code


def mixed_with(given: Tensor, free: Tensor, guidance: float) -> Tensor:
    """Guidance as VILA-U writes it: free + c · (given − free); 1 is none, 0 ignores the caption.
    HART's (1 + t) · given − t · free is the same with t = c − 1."""
    return free + guidance * (given - free)


Mix = Callable[[Tensor, Tensor, float], Tensor]


def draw_codes(
    model: VilaU,
    states: Tensor,
    guidance: float,
    uniform: Tensor | None,
    temperature: float,
    top_k: int,
    top_p: float,
    mixing: Mix = mixed_with,
) -> Tensor:
    """The D codes of one place, (images, D), from the trunk's states (images, dim): of the
    captions, and with guidance behind them as many of no caption. Both go on with the same codes.
    `uniform` (images, D) holds the random numbers."""
    guided = guidance != 1
    images = len(states) // 2 if guided else len(states)
    quantizer, cache = model.tower.quantizer, model.depth.new_cache()
    codes = torch.zeros(images, 0, dtype=torch.int64, device=states.device)
    for d in range(model.depth.steps):
        sums = quantizer.partial_sums(codes)
        logits = model.depth(states, sums.repeat(1 + guided, 1, 1), cache).logits[:, -1]
        if guided:
            given, free = logits.chunk(2)
            logits = mixing(given, free, guidance)
        drawn = None if uniform is None else uniform[:, d]
        new = choose(logits, drawn, temperature, top_k, top_p)
        codes = torch.cat([codes, new[:, None]], dim=1)
    return codes


@torch.no_grad()
def paint_codes(
    model: VilaU,
    captions: Sequence[Sequence[int]],
    guidance: float = GUIDANCE,
    seed: int | Sequence[int] = 0,
    on_place: Callable[[int, Tensor], None] | None = None,
    *,
    temperature: float = 1.0,
    top_k: int = TOP_K,
    top_p: float = TOP_P,
    mixing: Mix = mixed_with,
) -> Tensor:
    """Codes (images, places, D) of images for captions, each a list of word numbers.

    guidance: as in `mixed_with`. The row without a caption is shorter, so it is padded in front.
    seed: one number (the images count up from it), or one an image; an image does not depend on
        the others of the batch.
    on_place(place, codes): told after every place, from 0, the codes (images, place + 1, D) by now.
    temperature: 0 takes the most probable code. top_k, top_p: 0 and 1 leave all.
    """
    guided = guidance != 1
    prompts = [[START, *caption, IMAGE_START] for caption in captions]
    prompts += [[START, IMAGE_START]] * (len(captions) * guided)
    mixed = mix([(words, [IGNORE] * len(words)) for words in prompts], 0, left=True)
    device = next(model.parameters()).device
    real, draws = mixed.real.to(device), Draws(seed, len(captions))
    cache, quantizer = model.trunk.new_cache(), model.tower.quantizer
    x = model.trunk.words(mixed.words.to(device))
    codes: list[Tensor] = []
    for place in range(model.tower.tokens):
        state = _step(model, x, real, cache)
        uniform = draws.uniform(model.depth.steps).to(device) if temperature else None
        codes.append(draw_codes(model, state, guidance, uniform, temperature, top_k, top_p, mixing))
        if on_place is not None:
            on_place(place, torch.stack(codes, dim=1))
        # what the trunk sees next is what all D codes of the place add up to, for both rows
        x = model.projector(quantizer.accumulate(codes[-1]))[:, None].repeat(1 + guided, 1, 1)
        real = torch.cat([real, real.new_ones(len(real), 1)], dim=1)
    return torch.stack(codes, dim=1)


def _step(model: VilaU, x: Tensor, real: Tensor, cache: list[Cache]) -> Tensor:
    """The last state, (rows, dim), of new tokens x (rows, new, dim) of rows `real` (rows, all)."""
    new = x.shape[1]
    if real.all():
        return model.trunk(x, cache=cache)[:, -1]
    return model.trunk(x, padded_mask(real)[:, -new:], cache)[:, -1]


def paint(model: VilaU, captions: Sequence[Sequence[int]], *args, **options) -> Tensor:
    """Images (images, 3, size, size) in [0, 1] for captions; arguments of `paint_codes`."""
    return decode_codes(model, paint_codes(model, captions, *args, **options))


@torch.no_grad()
def decode_codes(model: VilaU, codes: Tensor) -> Tensor:
    """Images in [0, 1] of codes (images, places, D), the first few depths alone if there are no
    more; places that are not there yet are those of an empty map."""
    tokens = model.tower.quantizer.accumulate(codes)
    missing = model.tower.tokens - tokens.shape[1]
    return to_unit(model.tower.decode(F.pad(tokens, (0, 0, 0, missing))))
