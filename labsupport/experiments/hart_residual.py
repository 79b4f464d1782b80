"""Lab 09: the residual diffusion trained alone, after the transformer is done.

HART trains both together only. Here that leaves the MLP behind: most tokens of the last scale are
dropped, and the transformer that is kept is a running mean which the MLP never saw.
"""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm.auto import tqdm

from labsupport.experiments.hart_training import Source
from labsupport.models.hart.generator import Hart, drop_captions

LR, WEIGHT_DECAY, TOKENS = 2e-3, 0.01, 1024  # tokens: of one step


@torch.no_grad()
def residual_examples(hart: Hart, source: Source, batches: int, seed: int = 0,
                      progress: bool = True) -> tuple[Tensor, Tensor]:
    """Conditions (tokens, dim) and residuals (tokens, latent dim) of every token of the last scale
    of `batches` batches; captions dropped as in joint training."""
    generator = torch.Generator().manual_seed(seed)
    quantizer, transformer = hart.tokenizer.quantizer, hart.transformer
    last = quantizer.lengths[-1]
    conditions, residuals = [], []
    for i in tqdm(range(batches), disable=not progress, desc="hidden states"):
        images, text = source(i)
        found = quantizer(hart.tokenizer.encode(images))
        out = transformer(drop_captions(text, generator), quantizer.inputs(found.indices))
        vectors = quantizer.codebook(found.indices[:, -last:])
        conditions.append(transformer.condition(out.hidden[:, -last:], vectors).flatten(0, 1))
        residuals.append((found.before_last.flatten(2).mT - vectors).flatten(0, 1))
    return torch.cat(conditions), torch.cat(residuals)


def train_residual(hart: Hart, source: Source, *, batches: int, steps: int, seed: int = 0,
                   progress: bool = True) -> list[dict]:
    """Train `hart.residual` in place on `batches` batches of `source` for `steps` steps of 1,024
    tokens; the rest of `hart` stays as it is. AdamW, one cycle. The loss curve, a record every 500
    steps: step and loss."""
    hart.eval()
    conditions, residuals = residual_examples(hart, source, batches, seed, progress)
    net = hart.residual
    optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps)
    generator = torch.Generator().manual_seed(seed + 1)
    curve, total = [], 0.0
    for step in tqdm(range(steps), disable=not progress, desc="residual diffusion"):
        rows = torch.randint(len(conditions), (TOKENS,), generator=generator)
        loss = net.loss(residuals[rows], conditions[rows], generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
        if (step + 1) % 500 == 0 or step + 1 == steps:
            curve.append({"step": step + 1, "loss": round(total / (step % 500 + 1), 5)})
            total = 0.0
    return curve
