"""Systems of lab 09: HART and what it is compared with, each trained for about an hour.

    labs experiment 09 hart_systems

One thread, more than three hours; a run that is killed goes on where it was. All have the
tokenizer's latent, blocks of the same width and number, the captions and the optimizer in common.
HART is the one that `hart_generation` trained. How long each takes to draw an image is measured by
`hart_speed`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from labsupport.data.transforms import normalize, to_unit
from labsupport.experiments.lab09.hart_generation import BATCH_SIZE, LR, NET, Bench, generate_all
from labsupport.experiments.lab09.hart_speed import DIFFUSION_STEPS as TIMED_STEPS
from labsupport.experiments.record import Run, write_result
from labsupport.files import write_whole
from labsupport.labs.lab09.training import JITTER, sticker_source, train_generator
from labsupport.models.hart.quantizer import MultiScaleQuantizer
from labsupport.models.hart.rivals.diffusion_transformer import DiffusionTransformer
from labsupport.models.hart.rivals.masked import MaskedAR
from labsupport.models.hart.rivals.raster import RasterAR
from labsupport.models.hart.shipped import pretrained
from labsupport.models.hart.tokenizer import HybridTokenizer

# steps that take one thread as long as HART's two trainings (`hart_generation`), an hour
STEPS = {"raster order": 17_500, "diffusion": 19_500, "MAR-like": 11_800}
SEED, AVERAGE = 0, 0.999
GUIDANCE = (0.5, 1.0, 2.0)
DIFFUSION_STEPS = (3, 4, 5, 7, 10, 20, 30, 50)
# of codes; 0 takes the most probable ones, which in raster order is ground and nothing else
TEMPERATURES = (0.0, 0.7, 1.0)
# number of passes a system draws with where it has a choice
DRAWS = {
    "HART": {"steps": 8},
    "raster order": {},
    "diffusion": {"steps": 30},
    "MAR-like": {"steps": 30, "iterations": 16},
}
TRIED, IMAGES = 200, 500  # captions that settings are chosen on; held-out ones of each kind
NOISE_SEEDS = (0, 1, 2)
CENTRES_FROM, ROUNDS = 1_000, 20  # images; rounds of k-means


@torch.no_grad()
def flat_tokenizer(tokenizer: HybridTokenizer, images: Tensor, seed: int = SEED) -> HybridTokenizer:
    """The same encoder and decoder with codes of a single scale, as many as before: centres of
    the latents of images (n, 3, size, size) in [-1, 1] by k-means."""
    latent = torch.cat([tokenizer.encode(part) for part in images.split(100)])
    vectors = latent.flatten(2).mT.flatten(0, 1)
    old = tokenizer.quantizer
    quantizer = MultiScaleQuantizer(len(old.codebook.weight), tokenizer.dim, [old.side])
    centres = quantizer.codebook.weight
    order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed))
    centres.copy_(vectors[order[: len(centres)]])
    for _ in range(ROUNDS):
        nearest = torch.cat([quantizer.nearest(part) for part in vectors.split(8192)])
        count = torch.bincount(nearest, minlength=len(centres))[:, None]
        total = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres.copy_(torch.where(count > 0, total / count.clamp(min=1), centres))
    flat = copy.deepcopy(tokenizer)
    flat.quantizer = quantizer
    return flat.eval()


def lab_flat_tokenizer(tokenizer: HybridTokenizer) -> HybridTokenizer:
    """`flat_tokenizer` with centres of images of training."""
    images = sticker_source(tokenizer.size, CENTRES_FROM, seed=SEED + 1)(0)[0]
    return flat_tokenizer(tokenizer, images)


@torch.no_grad()
def true_codes(tokenizers: Mapping[str, HybridTokenizer]) -> list[dict]:
    """What no model of a tokenizer's codes can be expected to beat: records of real images that
    went through the codes."""
    bench = Bench(("triple", "pair"), IMAGES)
    records = []
    for system, tokenizer in tokenizers.items():
        shown = [
            to_unit(tokenizer.decode(tokenizer.quantizer(tokenizer.encode(part)).discrete))
            for part in normalize(bench.images).split(100)
        ]
        records.append({"system": system} | bench.score(torch.cat(shown)))
    return records


def untrained(name: str, tokenizer: HybridTokenizer) -> nn.Module:
    """A system of `STEPS` over a tokenizer."""
    torch.manual_seed(SEED)
    words = NET.vocabulary, NET.text_length
    net = dict(dim=NET.dim, depth=NET.depth, heads=NET.heads)
    if name == "raster order":
        return RasterAR(lab_flat_tokenizer(tokenizer), *words, **net)
    if name == "diffusion":
        return DiffusionTransformer(tokenizer, *words, **net)
    return MaskedAR(tokenizer, *words, **net, width=NET.residual_width)


def chosen_settings(name: str, model: nn.Module, tried: list[dict]) -> dict:
    """The guidance, for codes the temperature and for diffusion the number of steps, whose images
    of captions from training are nearest to real ones; every trial is noted in `tried`."""
    bench = Bench("train", TRIED, seed=41)

    def distance(**options) -> float:
        found = bench.score(generate_all(model, bench.text, **DRAWS[name] | options))["distance"]
        tried.append({"system": name, "split": "train"} | options | {"distance": found})
        return found

    if name in ("HART", "raster order"):
        pairs = [{"guidance": g, "temperature": t} for g in GUIDANCE for t in TEMPERATURES]
        return DRAWS[name] | min(pairs, key=lambda pair: distance(**pair))
    best = {"guidance": min(GUIDANCE, key=lambda g: distance(guidance=g))}
    if name == "diffusion":
        best["steps"] = min(DIFFUSION_STEPS, key=lambda n: distance(steps=n, **best))
    return DRAWS[name] | best


def held_out(name: str, model: nn.Module, settings: dict, seeds: Sequence[int]) -> list[dict]:
    """Records of images of captions that no system was trained on."""
    bench = Bench(("triple", "pair"), IMAGES)
    ways = [(name, settings)]
    if name == "HART":
        ways.append(("VAR", settings | {"residual": False}))
    if name == "diffusion":
        ways += [(name, settings | {"steps": n}) for n in TIMED_STEPS if n != settings["steps"]]
    records = []
    for way, options in ways:
        for seed in seeds:
            images = generate_all(model, bench.text, seed=seed, **options)
            records.append(
                {"system": way, "split": "held out", "seed": seed} | options | bench.score(images)
            )
    return records


def trained_system(
    name: str, tokenizer: HybridTokenizer, checkpoint: Path
) -> tuple[nn.Module, dict]:
    """A system after its training and the record of that: steps, seconds, loss curve."""
    if name == "HART":
        return pretrained(), {}  # its training is on record in 09_hart_generation.json
    model = untrained(name, tokenizer)
    curve = train_generator(
        model,
        sticker_source(tokenizer.size, BATCH_SIZE, seed=SEED),
        steps=STEPS[name],
        lr=LR,
        seed=SEED,
        checkpoint=checkpoint,
        average=AVERAGE,
        progress=name,
    )
    return model, {"steps": STEPS[name], "seconds": curve[-1]["seconds"], "curve": curve[::10]}


def measure_system(name: str, tokenizer: HybridTokenizer, build: Path) -> dict:
    """Train one system and draw with it: {"training": a record, "tried": …, "records": …,
    "seconds": of all of it}. What is done is kept in `build` and not done again."""
    path = build / f"09_systems_{name.split()[0]}.json"
    if path.is_file():
        return json.loads(path.read_text())
    model, training = trained_system(name, tokenizer, path.with_suffix(".pt"))
    start, tried = perf_counter(), []
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    settings = chosen_settings(name, model, tried)
    seeds = NOISE_SEEDS if name == "HART" else NOISE_SEEDS[:1]
    records = held_out(name, model, settings, seeds)
    done = {
        "training": {"system": name, "parameters": learned} | training,
        "tried": tried,
        "records": records,
        "seconds": training.get("seconds", 0) + perf_counter() - start,
    }
    write_whole(path, json.dumps(done))
    return done


def main(root: Path) -> None:
    """Train and measure all of them; write data/results/09_hart_systems.json."""
    settings = {
        "net": [NET.dim, NET.depth, NET.heads, NET.residual_width],
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "steps": STEPS,
        "seed": SEED,
        "average": AVERAGE,
        "jitter": JITTER,
        "images": 2 * IMAGES,
        "tried": TRIED,
    }
    run, tokenizer = Run(root, __name__, settings), pretrained("tokenizer")
    found = [measure_system(name, tokenizer, root / "build") for name in DRAWS]
    write_result(
        run.path,
        records=[record for one in found for record in one["records"]],
        command=run.command,
        seconds=sum(one["seconds"] for one in found),
        settings=settings,
        systems=[one["training"] for one in found],
        tried=[trial for one in found for trial in one["tried"]],
        true_codes=true_codes({"HART": tokenizer, "raster order": lab_flat_tokenizer(tokenizer)}),
    )
