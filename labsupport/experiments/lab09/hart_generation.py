"""Generator of lab 09: the HART that is shipped, and how good its images are.

    labs experiment 09 hart_generation

One thread, about 70 minutes; a run that is killed goes on where it stopped. Needs the tokenizer and
the judges of lab 08, and `hart_clip`. Weights are rounded to half precision before anything is
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from labsupport.data.stickers import draw_stickers, stickers, tokenize
from labsupport.data.transforms import normalize, to_unit
from labsupport.experiments.lab08.hart_tokenizer import halved, round_weights
from labsupport.experiments.lab09.hart_clip import clip_scores
from labsupport.experiments.lab09.hart_residual import train_residual
from labsupport.experiments.record import Run, write_result
from labsupport.labs.lab09.training import JITTER, sticker_source, train_generator
from labsupport.metrics.frechet import frechet_distance
from labsupport.metrics.images import psnr
from labsupport.models.hart.config import HartConfig
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.sampling import guided, with_empty
from labsupport.models.hart.shipped import JUDGES, pretrained
from labsupport.models.judges import judge

NET = HartConfig()
STEPS, BATCH_SIZE, LR, SEED = 16_500, 16, 2.5e-3, 0
# while most tokens of the last scale are dropped a step takes half the time; at the end of training
# all of them count, for they are what images have wrong otherwise
DROPPING, REPEATS = 10_000, 2  # the first steps; times at which they train diffusion for a token
RESIDUAL_BATCHES, RESIDUAL_TRAINING = 300, 8_000  # of the residual alone: 64 images each; steps
IMAGES = 500  # per split
# on 1,200 captions of training 0.5, 0.75 and 1 have a distance of 3.4, 3.2 and 3.3
GUIDANCE = 0.75
RESIDUAL_STEPS = (1, 2, 4, 8, 16, 30)
NOISE_SEEDS = (0, 1, 2)  # of generation, with the published 8 steps


class Bench:
    """Captions and everything their images are compared with: `images` of a split, or of each of
    several.

    The reference of the Fréchet distance are other renders of the same captions.
    """

    def __init__(
        self, split: str | Sequence[str], images: int = IMAGES, size: int = 48, seed: int = 31
    ):
        splits = [split] if isinstance(split, str) else split
        drawn = [stickers(images, size, split=name, seed=seed, jitter=JITTER) for name in splits]
        self.attributes = torch.cat([part.attributes for part in drawn])
        self.images = torch.cat([part.images for part in drawn])
        self.other = draw_stickers(self.attributes, size, seed=seed + 1, jitter=JITTER)
        self.text = torch.cat([tokenize(part.captions) for part in drawn])
        self.judges = {name: pretrained(f"judge {name}") for name in JUDGES}
        self.clip = pretrained("clip")
        self.reference = judge(self.judges["a"], normalize(self.other.images))[0]

    def score(self, images: Tensor) -> dict[str, float]:
        """Of images (n, 3, size, size) in [0, 1] of the captions: Fréchet distance, PSNR to
        another render in dB, mean CLIP score, and the share in which each judge finds thing and
        everything."""
        found: dict[str, float] = {}
        for name, net in self.judges.items():
            features, words = judge(net, normalize(images))
            hits = words == self.attributes
            if name == "a":
                found["distance"] = round(frechet_distance(features, self.reference), 3)
            found[f"thing {name}"] = round(hits[:, 2].float().mean().item(), 4)
            found[f"all {name}"] = round(hits.all(dim=1).float().mean().item(), 4)
        return found | {
            "psnr": round(psnr(images, self.other.images), 2),
            "clip": round(clip_scores(self.clip, images, self.text).mean().item(), 2),
        }


def generate_all(
    hart: Hart, text: Tensor, batch: int = 80, seed: int = 0, guidance: float = GUIDANCE, **options
) -> Tensor:
    """Images for captions (n, words), `batch` at a time; image i has the seed `seed` · n + i."""
    first = seed * len(text)
    return torch.cat(
        [
            hart.generate(part, guidance=guidance, seed=first + i * batch, **options)
            for i, part in enumerate(text.split(batch))
        ]
    )


class StrangerResidual(Hart):
    """A control: every image gets the residual tokens of another one."""

    def draw_residual(self, *arguments) -> Tensor:
        return super().draw_residual(*arguments).roll(1, dims=0)


class NoiseResidual(Hart):
    """A control: residual tokens that are noise of the deviation of true ones."""

    def draw_residual(self, out, total, draws, *rest) -> Tensor:
        return draws.normal(*total.shape[1:]) * self.residual.scale


def as_control(kind: type[Hart], hart: Hart) -> Hart:
    """The same weights, generating as `kind` does."""
    control = kind(hart.config, hart.tokenizer)
    control.load_state_dict(hart.state_dict())
    return control.eval()


@torch.no_grad()
def with_true_codes(
    hart: Hart, bench: Bench, own_last: bool, steps: int = 8
) -> tuple[Tensor, float]:
    """Images of the true codes, or of all but those of the last scale, which the transformer
    chooses knowing the true ones before, with drawn residuals; and the share of the last scale's
    codes that it would choose rightly."""
    tokenizer, transformer = hart.tokenizer, hart.transformer
    quantizer, last = tokenizer.quantizer, tokenizer.quantizer.lengths[-1]
    generator, made, right = torch.Generator().manual_seed(SEED), [], []
    for images, text in zip(normalize(bench.images).split(80), bench.text.split(80), strict=True):
        found = quantizer(tokenizer.encode(images))
        true, total = found.indices[:, -last:], found.discrete
        out = transformer(with_empty(text), quantizer.inputs(found.indices).repeat(2, 1, 1))
        own = guided(*out.logits[:, -last:].chunk(2), GUIDANCE).argmax(dim=-1)
        right.append((own == true).float().mean(dim=1))
        if own_last:
            wrong = quantizer.codebook(own) - quantizer.codebook(true)
            total = total + wrong.mT.view_as(total)
        given, free = (
            transformer.condition(hidden, total) for hidden in out.hidden[:, -last:].chunk(2)
        )
        rest = hart.residual.sample(given, steps, generator, guidance=GUIDANCE, without=free)
        made.append(to_unit(tokenizer.decode(total + rest.mT.view_as(total))))
    return torch.cat(made), torch.cat(right).mean().item()


@torch.no_grad()
def evaluate(
    hart: Hart,
    split: str,
    images: int = IMAGES,
    steps: Sequence[int] = RESIDUAL_STEPS,
    seeds: Sequence[int] = NOISE_SEEDS,
) -> list[dict]:
    """One record a way of making the images of a split."""
    bench = Bench(split, images)
    tokenizer, records = hart.tokenizer, []

    def note(way: str, made: Tensor, **more: float) -> None:
        records.append({"split": split, "way": way} | more | bench.score(made))

    latent = tokenizer.encode(normalize(bench.images))
    note("real", bench.images)
    for way, shown in (
        ("true codes", tokenizer.quantizer(latent).discrete),
        ("true latent", latent),
    ):
        note(way, to_unit(tokenizer.decode(shown)))
    for way, own_last in (
        ("true codes, drawn residual", False),
        ("own last scale, drawn residual", True),
    ):
        made, right = with_true_codes(hart, bench, own_last)
        note(way, made, last_right=round(right, 4))
    for count in steps:
        for seed in seeds if count == 8 else seeds[:1]:
            note(
                "residual",
                generate_all(hart, bench.text, seed=seed, steps=count),
                steps=count,
                seed=seed,
            )
    note("codes only", generate_all(hart, bench.text, residual=False))
    for seed in seeds:
        note(
            "unguided residual",
            generate_all(hart, bench.text, seed=seed, steps=8, residual_guidance=0.0),
            seed=seed,
        )
    for kind, way in ((StrangerResidual, "another image's residual"), (NoiseResidual, "noise")):
        note(way, generate_all(as_control(kind, hart), bench.text, steps=8))
    return records


def settings() -> dict:
    """All that the record depends on."""
    return {
        "net": [NET.dim, NET.depth, NET.heads, NET.residual_width],
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "seed": SEED,
        "dropping": DROPPING,
        "repeats": REPEATS,
        "images": IMAGES,
        "guidance": GUIDANCE,
        "jitter": JITTER,
        "residual_training": [RESIDUAL_BATCHES, RESIDUAL_TRAINING],
    }


def loss_options(step: int) -> dict:
    """What `Hart.loss` is told at a step of the joint training."""
    dropping = step < DROPPING
    return {"drop_last": dropping, "repeats": REPEATS if dropping else 1}


def train(
    checkpoint: Path,
    steps: int = STEPS,
    seed: int = SEED,
    progress: bool | str = True,
    on_log: Callable[[dict], None] | None = None,
) -> tuple[Hart, list[dict], list[dict], float]:
    """The trained generator over the shipped tokenizer, weights rounded; the loss curves of joint
    training and of the residual alone; the seconds that both took, killed runs included."""
    torch.manual_seed(seed)
    hart = Hart(NET, pretrained("tokenizer"))
    source = sticker_source(hart.tokenizer.size, BATCH_SIZE, seed=seed)
    curve = train_generator(
        hart,
        source,
        steps=steps,
        lr=LR,
        seed=seed,
        checkpoint=checkpoint,
        average=0.999,
        progress=progress,
        on_log=on_log,
        at_step=loss_options,
    )
    start = perf_counter()
    alone = train_residual(
        hart,
        sticker_source(hart.tokenizer.size, 64, seed=seed + 1),
        batches=RESIDUAL_BATCHES,
        steps=RESIDUAL_TRAINING,
        seed=seed,
    )
    round_weights(hart.learned())
    return hart, curve, alone, curve[-1]["seconds"] + perf_counter() - start


def main(root: Path) -> None:
    """Train it; write data/checkpoints/09_hart.safetensors and the record."""
    run = Run(root, __name__, settings())
    hart, curve, alone, seconds = train(root / "build/09_hart_training.pt")
    start = perf_counter()
    run.ship(halved(hart.learned()), "09_hart", seed=str(SEED))
    records = [record for split in ("triple", "pair", "train") for record in evaluate(hart, split)]
    write_result(
        run.path,
        command=run.command,
        settings=run.settings,
        records=records,
        seconds=seconds + perf_counter() - start,
        curve=curve[::4],
        residual_curve=alone,
    )
