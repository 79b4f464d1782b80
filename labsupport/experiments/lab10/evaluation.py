"""What lab 10's towers and its unified model can do, on stickers of a split."""

from collections.abc import Callable

import torch
from torch import Tensor

from labsupport.data.stickers import WORDS, Stickers, stickers, tokenize
from labsupport.data.transforms import normalize, to_unit
from labsupport.metrics.frechet import frechet_distance
from labsupport.metrics.images import psnr, ssim
from labsupport.metrics.judges import opinion
from labsupport.metrics.probe import linear_probe
from labsupport.metrics.retrieval import top1
from labsupport.models.apply import in_parts
from labsupport.models.clip.losses import clip_logits
from labsupport.models.hart.shipped import JUDGE_SIZE, pretrained
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.tower import VisualTower
from labsupport.models.vilau.words import DESCRIBE, QUESTIONS, answers
from labsupport.models.vilau.writing import next_word, write

TEST_SEED, PROBE_SEED = 4242, 77


def discrete_of(tower: VisualTower, images: Tensor) -> Tensor:
    """Quantized tokens (n, places, dim) of images in [-1, 1]."""
    return in_parts(lambda part: tower.tokenize(part).discrete, images)


def encoded_of(tower: VisualTower, images: Tensor) -> Tensor:
    """Tokens (n, places, dim) before they are quantized, of images in [-1, 1]."""
    return in_parts(tower.encode, images)


@torch.no_grad()
def rebuilt(tower: VisualTower, drawn: Stickers) -> list[dict[str, float]]:
    """PSNR in dB, SSIM and Fréchet distance (judge a's features, to those of the very images) of
    images from the first 1 to D codes of every place, and last, with depth 0, from what was not
    quantized at all."""
    net = pretrained("judge a")
    truth = opinion(net, drawn.images, JUDGE_SIZE)[0]
    images = normalize(drawn.images)
    codes = in_parts(lambda part: tower.tokenize(part).indices, images)
    maps = {
        d: tower.quantizer.accumulate(codes[..., :d]) for d in range(1, tower.quantizer.depth + 1)
    }
    maps[0] = in_parts(tower.encode, images)
    made = {d: to_unit(in_parts(tower.decode, tokens)) for d, tokens in maps.items()}
    return [
        {
            "depth": d,
            "psnr": psnr(image, drawn.images),
            "ssim": ssim(image, drawn.images),
            "distance": frechet_distance(opinion(net, image, JUDGE_SIZE)[0], truth),
        }
        for d, image in made.items()
    ]


@torch.no_grad()
def code_use(tower: VisualTower, drawn: Stickers) -> list[dict[str, float]]:
    """Of each depth: the share of the codebook that occurs, and the perplexity, the number of
    codes that equally often used ones would be."""
    codes = in_parts(lambda part: tower.tokenize(part).indices, normalize(drawn.images))
    size, found = len(tower.quantizer.codebook.vectors), []
    for d, column in enumerate(codes.flatten(0, 1).unbind(dim=1)):
        share = torch.bincount(column, minlength=size).double() / len(column)
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        found.append(
            {
                "depth": d + 1,
                "used": (share > 0).double().mean().item(),
                "perplexity": entropy.exp().item(),
            }
        )
    return found


@torch.no_grad()
def found_captions(
    tower: VisualTower,
    drawn: Stickers,
    tokens_of: Callable[[VisualTower, Tensor], Tensor] = discrete_of,
) -> float:
    """Zero-shot: share of images whose own caption is the nearest of all different ones, 0 to 1.
    `tokens_of(tower, images)` are what alignment reads."""
    if tower.alignment is None:
        raise ValueError("a tower without alignment knows no captions")
    kept: dict[tuple[int, ...], int] = {}
    for i, row in enumerate(drawn.attributes.tolist()):
        kept.setdefault(tuple(row), i)
    rows = list(kept.values())
    tokens = tokens_of(tower, normalize(drawn.images[rows]))
    captions = tokenize([drawn.captions[i] for i in rows])
    images, texts = tower.alignment.image(tokens), tower.alignment.text(captions)
    return top1(clip_logits(images, texts, torch.zeros(())))


def probed(tower: VisualTower, train: Stickers, test: Stickers) -> dict[str, float]:
    """Accuracy, 0 to 1, of a linear probe of all quantized tokens, for each kind of word."""
    known, new = (discrete_of(tower, normalize(s.images)).flatten(1) for s in (train, test))
    return {
        word: linear_probe(known, train.attributes[:, k], new, test.attributes[:, k], penalty=1.0)
        for k, word in enumerate(WORDS)
    }


def unseen_stickers(size: int, split: str, n: int = 500, jitter: float = 1.0) -> Stickers:
    """Images that no training sees."""
    return stickers(n, size, split=split, seed=TEST_SEED, jitter=jitter)


@torch.no_grad()
def read(model: VilaU, drawn: Stickers, part: int = 250) -> dict[str, float]:
    """Shares, 0 to 1, of captions with every word right, of each word in them, and of answers to
    each question."""
    return read_images(model, normalize(drawn.images), tokenize(drawn.captions), part)


@torch.no_grad()
def read_images(model: VilaU, images: Tensor, text: Tensor, part: int = 250) -> dict[str, float]:
    """`read` of images (n, 3, size, size) in [-1, 1] and their captions (n, words)."""
    words = torch.cat([_written(model, x, text.shape[1]) for x in images.split(part)])
    right = words == text
    found = {"caption": right.all(dim=1).double().mean().item()}
    found |= {f"said {w}": right[:, k].double().mean().item() for k, w in enumerate(WORDS)}
    for kind, question in QUESTIONS.items():
        said = torch.cat([next_word(model, x, question).argmax(dim=1) for x in images.split(part)])
        goal = answers(text, question)[:, 0]
        found[f"answer {kind}"] = (said == goal).double().mean().item()
    return found


def _written(model: VilaU, images: Tensor, length: int) -> Tensor:
    words = write(model, images, DESCRIBE, length=length)[0]
    return torch.nn.functional.pad(words, (0, length - words.shape[1]), value=-1)
