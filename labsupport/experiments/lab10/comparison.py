"""HART against VILA-U: every row of the lecture's table as a measurement, on the same captions.

    labs experiment 10 comparison

One thread, about eight minutes. Needs the checkpoints of lab 09's HART and of `unified`, and the
judges of lab 08. Both draw images of 48 pixels, the judges' size. Guidance and temperature of
each are chosen on the same captions of training, by the least distance; those of HART are the ones
`hart_systems` found in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labsupport.data.stickers import Stickers, stickers, tokenize
from labsupport.data.transforms import normalize, to_unit
from labsupport.experiments.lab09.hart_generation import Bench, generate_all
from labsupport.experiments.lab10.evaluation import read
from labsupport.experiments.lab10.unified import paint_all
from labsupport.experiments.record import Run
from labsupport.models.apply import in_parts
from labsupport.models.hart.generator import Hart
from labsupport.models.registry import pretrained
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.painting import paint
from labsupport.profiling.clock import measure_in_turns
from labsupport.profiling.counts import count_macs, count_parameters

IMAGES, SPLITS = 500, ("triple", "pair")
HART = {"steps": 8, "guidance": 0.5, "temperature": 0.7}  # by least distance in `hart_systems`
GUIDANCES, TEMPERATURES = (1.0, 1.5, 2.0, 3.0), (0.5, 0.7, 1.0)  # of VILA-U
TRIED, TRIED_SEED = 200, 41  # captions of training, those of `hart_systems`
BATCHES = (1, 64)  # for `milliseconds`, and for `images a second`
ROUNDS, SECONDS = (5, 20), 30.0  # of every batch size

Draw = Callable[[Tensor], Tensor]


def drawers(hart: Hart, model: VilaU, options: Mapping[str, float]) -> dict[str, Draw]:
    """Functions from captions (images, words) to images, by system; decoders included."""
    return {
        "HART": lambda text: hart.generate(text, seed=0, **HART),
        "VILA-U": lambda text: paint(model, text.tolist(), seed=0, **options),
    }


def images_of(hart: Hart, model: VilaU, text: Tensor, options: Mapping[str, float]) -> dict:
    """Images for captions, by system: each of a seed of its own."""
    return {"HART": generate_all(hart, text, **HART), "VILA-U": paint_all(model, text, **options)}


def best_options(model: VilaU, bench: Bench, tried: list[dict]) -> dict[str, float]:
    """Guidance and temperature of VILA-U whose images are nearest to real ones; every trial is
    noted in `tried`."""
    for guidance in GUIDANCES:
        for temperature in TEMPERATURES:
            options = {"guidance": guidance, "temperature": temperature}
            tried.append(options | bench.score(paint_all(model, bench.text, **options)))
    best = min(tried, key=lambda one: one["distance"])
    return {name: best[name] for name in ("guidance", "temperature")}


def shape_of(hart: Hart, model: VilaU) -> dict[str, dict[str, Any]]:
    """Of each system what its design says: parameters, those of encoders included (and apart those
    of "alignment", which is for the tower's training alone); tokens of the large net that stand for
    an image, and codes; steps of the large net, and of the small one behind it."""
    lengths, tower = hart.tokenizer.quantizer.lengths, model.tower
    unused = 0 if tower.alignment is None else count_parameters(tower.alignment)
    return {
        "HART": {
            "parameters": count_parameters(hart),
            "alignment": 0,
            "tokens": sum(lengths),
            "codes": sum(lengths),
            "steps": len(lengths),
            "small steps": HART["steps"],
            "diffusion": True,
        },
        "VILA-U": {
            "parameters": count_parameters(model) - unused,
            "alignment": unused,
            "tokens": tower.tokens,
            "codes": tower.tokens * model.depth.steps,
            "steps": tower.tokens,
            "small steps": tower.tokens * model.depth.steps,
            "diffusion": False,
        },
    }


def costs(
    found: Mapping[str, Draw],
    size: int,
    batches: tuple[int, int] = BATCHES,
    seconds: float = SECONDS,
    rounds: tuple[int, int] = ROUNDS,
) -> dict[str, dict[str, float]]:
    """Of each system milliseconds for an image alone, images a second in a batch (medians of
    turns), and MACs an image."""
    text = tokenize(stickers(max(batches), size, seed=0).captions)
    one, many = (measure_in_turns(found, text[:n], seconds=seconds, rounds=rounds) for n in batches)
    return {
        name: {
            "milliseconds": round(1000 * one[name], 3),
            "images a second": round(batches[1] / many[name], 3),
            "macs": count_macs(draw, text[:1]),
        }
        for name, draw in found.items()
    }


@torch.no_grad()
def rebuilt_codes(hart: Hart, model: VilaU, bench: Bench) -> dict[str, Tensor]:
    """Real images through each system's codes: what no model of these codes can be expected to
    beat. HART's have its residual too, which diffusion draws."""
    images = normalize(bench.images)
    whole = in_parts(lambda part: hart.tokenizer.decode(hart.tokenizer.encode(part)), images)
    tower = model.tower
    codes = in_parts(lambda part: tower.decode(tower.tokenize(part).discrete), images)
    return {"HART": to_unit(whole), "VILA-U": to_unit(codes)}


def measure(
    hart: Hart,
    model: VilaU,
    options: Mapping[str, float],
    splits: Sequence[str] = SPLITS,
    images: int = IMAGES,
    spent: Mapping[str, Mapping[str, float]] | None = None,
) -> tuple[list[dict], list[dict]]:
    """A record for every split and system; and of real images and rebuilt ones, their scores."""
    spent = costs(drawers(hart, model, options), model.tower.size) if spent is None else spent
    shape, records, real = shape_of(hart, model), [], []
    for split in splits:
        bench = Bench(split, images, model.tower.size)
        made = images_of(hart, model, bench.text, options)
        captions = read(model, Stickers(bench.images, bench.attributes))["caption"]
        for system, shown in made.items():
            record = {"system": system, "split": split} | _scores(bench, shown)
            record |= spent[system] | shape[system]
            record["captions"] = round(captions, 4) if system == "VILA-U" else None
            records.append(record | {"pixels": shown.shape[-1]})
        real.append({"images": "real", "split": split} | _scores(bench, bench.images))
        for system, shown in rebuilt_codes(hart, model, bench).items():
            real.append({"images": f"rebuilt, {system}", "split": split} | _scores(bench, shown))
    return records, real


def _scores(bench: Bench, images: Tensor) -> dict[str, float]:
    found = bench.score(images)
    return {
        "distance": found["distance"],
        "judge_a": found["all a"],
        "judge_b": found["all b"],
        "clip": found["clip"],
    }


def settings() -> dict[str, Any]:
    """All that the record depends on."""
    return {
        "images": IMAGES,
        "hart": HART,
        "guidances": GUIDANCES,
        "temperatures": TEMPERATURES,
        "tried": TRIED,
        "batches": BATCHES,
        "rounds": ROUNDS,
    }


def main(root: Path) -> None:
    """Choose, draw, measure; write data/results/10_comparison.json."""
    this = Run(root, __name__, settings())
    hart, model = pretrained("09_hart"), pretrained("10_unified")
    tried: list[dict] = []
    bench = Bench("train", TRIED, model.tower.size, seed=TRIED_SEED)
    options = best_options(model, bench, tried)
    records, real = measure(hart, model, options)
    this.keep(records, real=real, tried=tried, chosen=options)
