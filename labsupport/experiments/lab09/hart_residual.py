"""Residual diffusion of lab 09, trained alone, after the transformer is done.

HART trains both together only. Here that leaves the MLP behind: for long most tokens of the last
scale are dropped, and the transformer that is kept is a running mean which the MLP never saw.
"""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm.auto import tqdm

from labsupport.labs.lab09.training import Source
from labsupport.models.hart.base import drop_captions
from labsupport.models.hart.generator import SAMPLED, Hart
from labsupport.training.loop import fit

LR, WEIGHT_DECAY, IMAGES = 2e-3, 0.01, 16  # images: of one step


@torch.no_grad()
def residual_examples(
    hart: Hart, source: Source, batches: int, seed: int = 0, progress: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the images of `batches` batches, in half precision: hidden states of the last scale
    (images, tokens, dim), what their codes add up to and what those leave out, both (images,
    latent dim, side, side). Captions are dropped as in joint training, and half of the images have
    the codes of the last scale that the transformer finds most probable."""
    generator = torch.Generator().manual_seed(seed)
    quantizer = hart.tokenizer.quantizer
    last = quantizer.lengths[-1]
    examples: list[tuple[Tensor, ...]] = []
    for i in tqdm(range(batches), disable=not progress, desc="hidden states"):
        images, text = source(i)
        latent = hart.tokenizer.encode(images)
        found = quantizer(latent)
        out = hart.transformer(drop_captions(text, generator), quantizer.inputs(found.indices))
        true = found.indices[:, -last:]
        own = torch.rand(len(images), 1, generator=generator) < SAMPLED
        codes = torch.where(own, out.logits[:, -last:].argmax(dim=-1), true)
        wrong = quantizer.codebook(codes) - quantizer.codebook(true)
        total = found.discrete + wrong.mT.view_as(latent)
        examples.append((out.hidden[:, -last:].half(), total.half(), (latent - total).half()))
    hidden, total, rest = (torch.cat(parts) for parts in zip(*examples, strict=True))
    return hidden, total, rest


def train_residual(
    hart: Hart, source: Source, *, batches: int, steps: int, seed: int = 0, progress: bool = True
) -> list[dict]:
    """Train `hart.residual`, and what makes its condition, in place on `batches` batches of
    `source` for `steps` steps of 16 images; the rest of `hart` stays as it is. AdamW, one cycle.
    The loss curve, a record every 500 steps: step and loss."""
    hart.eval()
    examples = residual_examples(hart, source, batches, seed, progress)
    transformer, net = hart.transformer, hart.residual
    learned = [
        *net.parameters(),
        *transformer.around.parameters(),
        *transformer.condition_norm.parameters(),
    ]
    optimizer = torch.optim.AdamW(learned, LR, weight_decay=WEIGHT_DECAY)
    # it turns the betas too, which no schedule of rates does
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps)
    generator = torch.Generator().manual_seed(seed + 1)
    curve: list[dict] = []
    losses: list[float] = []  # since the last record

    def step(number: int) -> Tensor:
        rows = torch.randint(len(examples[0]), (IMAGES,), generator=generator)
        hidden, codes, rest = (values[rows].float() for values in examples)
        condition = transformer.condition(hidden, codes)
        return net.loss(rest.flatten(2).mT.flatten(0, 1), condition.flatten(0, 1), generator)

    def after(number: int, loss: float) -> None:
        cycle.step()
        losses.append(loss)
        if (number + 1) % 500 == 0 or number + 1 == steps:
            curve.append({"step": number + 1, "loss": round(sum(losses) / len(losses), 5)})
            losses.clear()

    title = "residual diffusion" if progress else False
    fit(step, optimizer, steps=steps, schedule=None, after=after, progress=title)
    return curve
