"""Decoders of lab 08: trained on discrete latents only, and on both kinds; three seeds.

    labs experiment 08 hart_decoders

Small tokenizers of 32-pixel stickers. Two are trained whole, one showing its decoder discrete
latents only, one discrete and continuous ones in turn. Then, as HART's code has it, encoder and
quantizer of the first are frozen and its decoder is trained further, with alternation and, for
equally long, without. Every decoder is measured on both kinds of latents.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from labsupport.data.stickers import Stickers, stickers
from labsupport.data.transforms import normalize, to_unit
from labsupport.experiments.lab08 import hart_judges, hart_tokenizer
from labsupport.experiments.lab08.hart_tokenizer import reconstruction_loss, train_tokenizer
from labsupport.experiments.record import resume
from labsupport.labs.lab08.tokenizers import SMALL
from labsupport.metrics.frechet import frechet_distance
from labsupport.metrics.images import psnr, ssim
from labsupport.metrics.judges import opinion, share_right
from labsupport.models.apply import in_parts
from labsupport.models.hart.shipped import untrained
from labsupport.models.hart.tokenizer import HybridTokenizer
from labsupport.models.judges import JudgeNet
from labsupport.models.weights import load_checkpoint
from labsupport.training.loop import fit
from labsupport.training.precision import autocast

STEPS, CONTINUOUS = 1200, 0.5
DECODER_STEPS, DECODER_LR = 400, 1e-3
TEST_IMAGES, TEST_SEED = 1000, 88
SEEDS = (0, 1, 2)
SPLITS = {"held out": "triple", "seen": "train"}
WHOLE = {"discrete only": 0.0, "alternating": CONTINUOUS}  # name -> share of continuous latents
FROZEN = {"frozen, discrete only": 0.0, "frozen, alternating": CONTINUOUS}
JUDGE = "a"


def settings() -> dict:
    """All that a record depends on, for the result file."""
    return {
        "net": SMALL,
        "steps": STEPS,
        "continuous": CONTINUOUS,
        "decoder_steps": DECODER_STEPS,
        "decoder_lr": DECODER_LR,
        "batch_size": hart_tokenizer.BATCH_SIZE,
        "lr": hart_tokenizer.LR,
        "edge_weight": hart_tokenizer.EDGE_WEIGHT,
        "square_weight": hart_tokenizer.SQUARE_WEIGHT,
        "code_weight": hart_tokenizer.CODE_WEIGHT,
        "test_images": TEST_IMAGES,
        "judge": JUDGE,
        "judge_size": hart_judges.SIZE,
    }


def train_decoder(
    tokenizer: HybridTokenizer,
    continuous: float,
    steps: int,
    seed: int,
    progress: bool | str = True,
) -> None:
    """Train the decoder alone; encoder, codes and convolutions of the quantizer stay as they are.

    The decoder sees the continuous latent for a share `continuous` of each batch.
    """
    optimizer = torch.optim.AdamW(
        tokenizer.decoder.parameters(), DECODER_LR, betas=hart_tokenizer.BETAS
    )
    batch_size, size = hart_tokenizer.BATCH_SIZE, tokenizer.size
    number, jitter = round(continuous * batch_size), hart_tokenizer.JITTER

    def step(at: int) -> Tensor:
        drawn = stickers(batch_size, size, jitter=jitter, seed=seed * 10_000_000 + 5_000_000 + at)
        images = normalize(drawn.images)
        with torch.no_grad():
            latent = tokenizer.encode(images)
            discrete = tokenizer.quantizer(latent).discrete
        with autocast():
            made = tokenizer.decode(torch.cat([latent[:number], discrete[number:]])).float()
        return reconstruction_loss(made, images)

    tokenizer.train()
    title = "decoder" if progress is True else progress
    fit(step, optimizer, steps=steps, clip=hart_tokenizer.CLIP, progress=title)
    tokenizer.eval()


def measure(tokenizer: HybridTokenizer, judge: JudgeNet, batch: Stickers) -> dict[str, dict]:
    """PSNR, SSIM, Fréchet distance and share judged right of both paths, path -> measures.

    The distance is that to the features of the very images that were rebuilt.
    """
    images, size = normalize(batch.images), hart_judges.SIZE
    features, _ = opinion(judge, batch.images, size)
    found = {}
    for path in ("discrete", "continuous"):

        def rebuild(part: Tensor, path: str = path) -> Tensor:
            latent = tokenizer.encode(part)
            return tokenizer.decode(
                latent if path == "continuous" else tokenizer.quantizer(latent).discrete
            )

        made = to_unit(in_parts(rebuild, images))
        seen, words = opinion(judge, made, size)
        found[path] = {
            "psnr": round(psnr(made, batch.images), 3),
            "ssim": round(ssim(made, batch.images), 4),
            "frechet": round(frechet_distance(seen, features), 3),
            "right": round(share_right(words, batch.attributes), 4),
        }
    return found


def family(name: str, seed: int, progress: bool) -> Iterator[tuple[str, HybridTokenizer]]:
    """A net of WHOLE, trained; and where it is the discrete one, the nets of FROZEN after it."""
    torch.manual_seed(seed)
    tokenizer = HybridTokenizer(**SMALL)
    train_tokenizer(
        tokenizer,
        steps=STEPS,
        seed=seed,
        continuous=WHOLE[name],
        progress=f"{name}, seed {seed}" if progress else False,
    )
    yield name, tokenizer
    if WHOLE[name]:
        return
    for other, continuous in FROZEN.items():
        further = copy.deepcopy(tokenizer)
        train_decoder(
            further, continuous, DECODER_STEPS, seed, f"{other}, seed {seed}" if progress else False
        )
        yield other, further


def run(
    judge: JudgeNet,
    seeds: Sequence[int] = SEEDS,
    done: Sequence[dict] = (),
    keep: Callable[[list[dict]], None] | None = None,
    progress: bool = True,
) -> list[dict]:
    """A record for each net, seed, split and path; what is in `done` is not repeated.
    `keep(records)` is called after every net."""
    records = list(done)
    tests = {
        title: stickers(TEST_IMAGES, SMALL["size"], split=split, seed=TEST_SEED)
        for title, split in SPLITS.items()
    }
    for seed in seeds:
        for name, share in WHOLE.items():
            known = {(r["net"], r["seed"]) for r in records}
            if {(n, seed) for n in ([name] if share else [name, *FROZEN])} <= known:
                continue
            start = perf_counter()
            for net, tokenizer in family(name, seed, progress):
                seconds, start = perf_counter() - start, perf_counter()
                if (net, seed) in known:
                    continue
                for split, batch in tests.items():
                    for path, found in measure(tokenizer.eval(), judge, batch).items():
                        records.append(
                            {
                                "net": net,
                                "seed": seed,
                                "split": split,
                                "path": path,
                                **found,
                                "seconds": round(seconds, 1),
                            }
                        )
                if keep:
                    keep(records)
    return records


def ceiling(judge: JudgeNet) -> list[dict]:
    """What the judge finds in the test images themselves, one record a split."""
    found = []
    for title, split in SPLITS.items():
        batch = stickers(TEST_IMAGES, SMALL["size"], split=split, seed=TEST_SEED)
        _, words = opinion(judge, batch.images, hart_judges.SIZE)
        found.append({"split": title, "right": round(share_right(words, batch.attributes), 4)})
    return found


def main(root: Path) -> None:
    """Run it on one thread and write data/results/08_hart_decoders.json; it goes on where it
    stopped."""
    this = resume(root, __name__, settings())
    judge = untrained(f"judge {JUDGE}")
    load_checkpoint(judge, root / f"data/checkpoints/08_judge_{JUDGE}.safetensors")
    images = ceiling(judge.eval())
    run(judge, done=this.records, keep=lambda records: this.keep(records, images=images))
