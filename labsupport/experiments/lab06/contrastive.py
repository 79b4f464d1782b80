"""Lab 06: CLIP and what it is compared with, three seeds; and the net that ships with the lab.

    labs experiment 06 contrastive

Also writes data/checkpoints/06_clip.safetensors: CLIP trained for longer. Results are written
after every net; started again with the same settings, it goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.data import CONCEPTS, Batch, pairs, singles
from labsupport.data.captions import with_article
from labsupport.data.transforms import normalize
from labsupport.experiments.record import Records, resume
from labsupport.labs.lab06.pairs import train_pairs
from labsupport.metrics.retrieval import better, top1
from labsupport.models.apply import in_parts
from labsupport.models.clip import losses
from labsupport.models.clip.model import CLIP, small_clip
from labsupport.models.clip.words import tokenize
from labsupport.profiling.counts import count_parameters
from labsupport.training.loop import train_classifier

TRAIN_IMAGES = 12000
STEPS, BATCH_SIZE, LR = 200, 128, 2e-3
PROBE_STEPS, PROBE_LR, PROBE_GAIN = 600, 3e-2, 8  # vectors of length 1 are small to a linear layer
SHIPPED_IMAGES, SHIPPED_STEPS, SHIPPED_NET = 20000, 1000, "shipped"
SEEDS = (0, 1, 2)
TEST_SEED = 1_000_000
CHOICES, LONE_IMAGES, ORDER_IMAGES = 100, 2000, 1000
CASES = {
    "seen": (False, "noto"),
    "unseen pairs": (True, "noto"),
    "unseen style": (False, "twemoji"),
    "both unseen": (True, "twemoji"),
}


def one_direction(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Only images choose among captions."""
    logits = losses.clip_logits(images, texts, scale)
    return F.cross_entropy(logits, torch.arange(len(logits)))


def no_length_one(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Products of vectors of any length in the place of cosines."""
    logits = scale.exp() * images @ texts.T
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def no_temperature(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """A temperature of 1 that does not learn."""
    return losses.clip_loss(images, texts, 0 * scale)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "CLIP": losses.clip_loss,
    "one direction": one_direction,
    "without length 1": no_length_one,
    "temperature 1": no_temperature,
    "hard negatives": losses.hard_negative_loss,
}
NETS = ("supervised", *LOSSES)


def naming_loss(outputs: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy with the things of an image in equal shares; binary cross-entropy over all 40
    things, 38 of them absent, learns several times more slowly."""
    return F.cross_entropy(outputs, present / present.sum(1, keepdim=True))


class Named(nn.Module):
    """An image tower with a norm and an output for every thing."""

    def __init__(self, tower: nn.Module):
        super().__init__()
        self.tower, self.head = tower, nn.Sequential(nn.LayerNorm(64), nn.Linear(64, len(CONCEPTS)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.tower(images))


def settings() -> dict:
    """All that a record depends on, for the result file."""
    return {
        "size": pairs.SIZE,
        "concepts": pairs.CONCEPTS,
        "scale": pairs.SCALE,
        "train_images": TRAIN_IMAGES,
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "probe": [PROBE_STEPS, PROBE_LR, PROBE_GAIN],
        "choices": CHOICES,
        "lone_images": LONE_IMAGES,
        "order_images": ORDER_IMAGES,
        "shipped": [SHIPPED_IMAGES, SHIPPED_STEPS],
        "parameters": count_parameters(small_clip()),
    }


def loss_with(loss_of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss of a batch for `train_pairs`, with wrong captions where it is given them."""

    def step(model: CLIP, _: object, images: Tensor, *tokens: Tensor) -> Tensor:
        texts = model.text(torch.cat(tokens)).chunk(len(tokens))
        return loss_of(model.image(images), *texts, model.logit_scale)

    return step


def vectors(encode: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`encode` applied to images in [0, 1], a few hundred at a time."""
    return in_parts(lambda part: encode(normalize(part)), images)


def measure(
    scores_of: Callable, lone_of: Callable, choices: int = CHOICES, lone: int = LONE_IMAGES
) -> dict:
    """Shares of right answers: pairs among `choices` pairs, and one thing alone among all."""
    record = {}
    for label, (held_out, style) in CASES.items():
        batch = pairs.pair_scenes(
            choices, held_out=held_out, style=style, split="test", seed=TEST_SEED, distinct=True
        )
        record[label] = round(top1(scores_of(batch)), 4)
    for label, style in (("one thing", "noto"), ("one thing, unseen style", "twemoji")):
        batch = singles(lone, pairs.SIZE, style=style, split="test", seed=TEST_SEED)
        found = lone_of(batch.images).argmax(1)
        record[label] = round((found == batch.labels).double().mean().item(), 4)
    return record


@torch.no_grad()
def measure_clip(model: CLIP, normalised: bool = True, order: int = ORDER_IMAGES) -> dict:
    """`measure`, word order, alignment and uniformity; `normalised` says how scores are made."""
    image = model.encode_image if normalised else model.image
    text = model.encode_text if normalised else model.text
    names = F.normalize(
        torch.stack(
            [
                model.encode_text(
                    tokenize(
                        [
                            f"{with_article(name)} {relation} {with_article(other)}"
                            for relation in ("left of", "above")
                            for other in CONCEPTS
                        ]
                    )
                ).mean(0)
                for name in CONCEPTS
            ]
        ),
        dim=-1,
    )
    record = measure(
        lambda b: vectors(image, b.images) @ text(tokenize(b.captions)).T,
        lambda images: vectors(model.encode_image, images) @ names.T,
    )
    batch = pairs.pair_scenes(order, split="test", seed=3 * TEST_SEED)
    found = vectors(image, batch.images)
    true, wrong = (
        text(tokenize(captions))
        for captions in (batch.captions, [pairs.swapped(caption) for caption in batch.captions])
    )
    record["order"] = round(better((found * true).sum(1), (found * wrong).sum(1)), 4)
    x, t = F.normalize(found, dim=-1), F.normalize(true, dim=-1)
    record["alignment"] = round((x - t).pow(2).sum(1).mean().item(), 4)
    for label, v in (("uniformity, images", x), ("uniformity, captions", t)):
        record[label] = round(torch.pdist(v).pow(2).mul(-2).exp().mean().log().item(), 4)
    return record


def train_net(
    name: str, seed: int, images: int, steps: int, progress: bool = True
) -> tuple[nn.Module, dict]:
    """One of NETS, trained, with its record but for the measurements."""
    train = pairs.pair_scenes(images, seed=seed)
    pictures = normalize(train.images)
    torch.manual_seed(seed)
    title = f"{name}, seed {seed}" if progress else False
    if name == "supervised":
        net: nn.Module = Named(small_clip().image)
        present = torch.zeros(images, len(CONCEPTS)).scatter_(1, train.labels, 1.0)
        history = train_classifier(
            net,
            pictures,
            present,
            steps=steps,
            batch_size=BATCH_SIZE,
            lr=LR,
            seed=seed,
            progress=title,
            loss_of=naming_loss,
        )
        scales = []
    else:
        net = small_clip()
        inputs = [pictures, tokenize(train.captions)]
        if name == "hard negatives":
            inputs.append(tokenize([pairs.swapped(caption) for caption in train.captions]))
        history, scales = train_pairs(
            net,
            loss_with(LOSSES.get(name, losses.clip_loss)),
            inputs,
            [pairs.fact(caption) for caption in train.captions],
            steps=steps,
            batch_size=BATCH_SIZE,
            lr=LR,
            seed=seed,
            progress=title,
            after=lambda _: losses.clamp_scale(net.logit_scale),
        )
    record = {
        "net": name,
        "seed": seed,
        "loss": round(history.last_loss(20), 4),
        "scale": round(scales[-1], 2) if scales else None,
        "seconds": round(history.seconds, 1),
    }
    return net, record


def probe_of(model: CLIP, seed: int) -> tuple[nn.Linear, float]:
    """A linear layer on the frozen image vectors, trained to name the things, and its loss."""
    train = pairs.pair_scenes(TRAIN_IMAGES, seed=seed)
    present = torch.zeros(len(train), len(CONCEPTS)).scatter_(1, train.labels, 1.0)
    probe = nn.Linear(64, len(CONCEPTS))
    history = train_classifier(
        probe,
        PROBE_GAIN * vectors(model.encode_image, train.images),
        present,
        steps=PROBE_STEPS,
        batch_size=256,
        lr=PROBE_LR,
        weight_decay=0.0,
        seed=seed,
        progress=False,
        loss_of=naming_loss,
    )
    return probe, history.loss[-1]


@torch.no_grad()
def measure_outputs(outputs: Callable[[Tensor], Tensor]) -> dict:
    """`measure` for a net with an output a thing: a pair scores the sum of its two."""
    return measure(
        lambda b: vectors(outputs, b.images)[:, b.labels].sum(-1),
        lambda images: vectors(outputs, images),
    )


def probed(model: CLIP, seed: int) -> dict:
    """The record of a linear probe on the image vectors of a trained CLIP."""
    probe, loss = probe_of(model, seed)
    found = measure_outputs(lambda x: probe(PROBE_GAIN * model.encode_image(x)))
    return {"net": "linear probe", "seed": seed, "loss": round(loss, 4)} | found


def run(
    seeds: Sequence[int] = SEEDS,
    nets: Sequence[str] = NETS,
    done: Sequence[dict] = (),
    keep: Callable[[list[dict]], object] | None = None,
) -> list[dict]:
    """One record a net and seed (and one of the linear probe on CLIP); what is in `done` is not
    repeated. `keep(records)` is called after every net."""
    records = Records(done, keep)
    for seed in seeds:
        for name in nets:
            if records.have(net=name, seed=seed):
                continue
            net, record = train_net(name, seed, TRAIN_IMAGES, STEPS)
            if name == "supervised":
                records.add(record | measure_outputs(net))
                continue
            record |= measure_clip(net, name != "without length 1")
            if name == "CLIP":
                records.append(record)  # kept together with its probe
                record = probed(net, seed)
            records.add(record)
    return records


def main(root: Path) -> None:
    """Run it on one thread; write the checkpoint and data/results/06_contrastive.json."""
    this = resume(root, __name__, settings())
    further = this.more
    if not further:
        net, record = train_net(SHIPPED_NET, 0, SHIPPED_IMAGES, SHIPPED_STEPS)
        shipped = record | measure_clip(net)
        further = {"shipped": [shipped], "showcase": [cosines_of(net, pairs.showcase())]}
        this.ship(net, "06_clip", **{"seed": "0", "unseen pairs": str(shipped["unseen pairs"])})
        this.keep(this.records, **further)
    run(done=this.records, keep=lambda records: this.keep(records, **further))


@torch.no_grad()
def cosines_of(model: CLIP, batch: Batch) -> dict:
    """The captions of `batch`, and the cosine of each with every image."""
    cosines = (
        model.encode_text(tokenize(batch.captions)) @ model.encode_image(normalize(batch.images)).T
    )
    return {
        "captions": batch.captions,
        "cosines": [[round(v, 3) for v in row] for row in cosines.tolist()],
    }
