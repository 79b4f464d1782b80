"""Stickers, a small world of captions for image generation: "big blue fox on yellow".

A sticker is one thing in one tint, at one place on a ground of one colour. Whole combinations are
held out of training, so that an image of such a caption has to be composed from what others show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from . import arguments as check
from .drawing import MAX_IMAGES, one_thread
from .emoji import STYLES
from .render import ALPHA_SIDE, TILE, sprite_bank
from .splits import stream

PLACES = ("big", "left", "right", "top", "bottom")
TINTS = ("plain", "red", "green", "blue")
THINGS = (
    "cat",
    "fox",
    "frog",
    "pig",
    "panda",
    "lion",
    "rabbit",
    "chick",
    "penguin",
    "owl",
    "fish",
    "butterfly",
    "bee",
    "ladybird",
    "turtle",
    "elephant",
    "apple",
    "banana",
    "strawberry",
    "cherries",
    "grapes",
    "watermelon",
    "pineapple",
    "carrot",
    "pizza",
    "hamburger",
    "doughnut",
    "popcorn",
    "heart",
    "star",
    "sun",
    "fire",
    "sunflower",
    "tulip",
    "tree",
    "cactus",
    "mushroom",
    "car",
    "bus",
    "rocket",
    "airplane",
    "sailboat",
    "house",
    "ghost",
    "robot",
    "skull",
    "umbrella",
    "balloon",
)
GROUNDS = ("white", "black", "pink", "yellow", "green", "blue", "purple", "gray")
WORDS = ("place", "tint", "thing", "ground")  # what each column of `attributes` says
CHOICES = (PLACES, TINTS, THINGS, GROUNDS)
VOCABULARY = ("", *PLACES, *TINTS, *THINGS, *(f"on {ground}" for ground in GROUNDS))
TEXT_LENGTH = len(WORDS)  # tokens of a caption; 0 is the empty token, and four of them no caption
SPLITS = ("train", "triple", "pair", "all")

_COLOURS = torch.tensor(
    [  # of GROUNDS
        [0.97, 0.97, 0.97],
        [0.10, 0.10, 0.12],
        [0.97, 0.70, 0.80],
        [0.98, 0.87, 0.42],
        [0.60, 0.83, 0.58],
        [0.52, 0.73, 0.96],
        [0.68, 0.55, 0.88],
        [0.60, 0.60, 0.60],
    ]
)
_INKS = torch.tensor([[0.90, 0.13, 0.13], [0.10, 0.62, 0.20], [0.13, 0.33, 0.90]])  # of TINTS[1:]
_SIDE = {"big": 0.92, "small": 0.64}  # longest side of the thing, in shares of the image's
_OFFSET = 0.16  # of a small thing from the middle
_JITTER_SHIFT, _JITTER_SCALE, _JITTER_ANGLE, _JITTER_COLOUR = 0.02, 0.03, 0.05, 0.012
_MIN_CONTRAST = 0.22  # distance in RGB between the mean colour of the thing and its ground
_CHUNK = 256  # images drawn at a time: bounds the memory, changes no result


@dataclass(frozen=True, eq=False)
class Stickers:
    """n images and what they show.

    Attributes:
        images: float32 (n, 3, size, size) in [0, 1].
        attributes: int64 (n, 4), indices into PLACES, TINTS, THINGS and GROUNDS.
    """

    images: Tensor
    attributes: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def captions(self) -> list[str]:
        """n sentences such as "big blue fox on yellow"."""
        return captions(self.attributes)


def captions(attributes: Tensor) -> list[str]:
    """Attributes (n, 4) as sentences; "plain" is not said."""
    rows = (
        [words[i] for words, i in zip(CHOICES, row, strict=True)] for row in attributes.tolist()
    )
    return [
        " ".join([place] + [tint] * (tint != "plain") + [thing, "on", ground])
        for place, tint, thing, ground in rows
    ]


def attributes_of(sentences: Sequence[str]) -> Tensor:
    """What captions say, int64 (n, 4). The order of words is free; without a place a thing is
    big, without a tint plain.

    Raises ValueError where a word is unknown, said twice, or the thing or ground is missing.
    """
    return torch.tensor([_read(sentence) for sentence in sentences]).view(-1, len(WORDS))


def _read(sentence: str) -> list[int]:
    found: dict[str, int] = {"place": 0, "tint": 0}
    said: set[str] = set()
    before = ""
    for word in sentence.lower().replace(",", " ").split():
        if word not in ("a", "an", "the", "on"):
            kinds = WORDS[3:] if before == "on" else WORDS[:3]  # "blue": a tint, or a ground
            kind = next((kind for kind in kinds if word in CHOICES[WORDS.index(kind)]), None)
            if kind is None or kind in said:
                fault = "says two of one kind at" if kind else "has the unknown word"
                raise ValueError(
                    f"the caption {sentence!r} {fault} {word!r}; write for example "
                    f"'big blue fox on yellow' with {_known()}"
                )
            said.add(kind)
            found[kind] = CHOICES[WORDS.index(kind)].index(word)
        before = word if word not in ("a", "an", "the") else before
    missing = [kind for kind in WORDS if kind not in found]
    if missing:
        raise ValueError(
            f"the caption {sentence!r} names no {' and no '.join(missing)}; write for "
            f"example 'big blue fox on yellow' with {_known()}"
        )
    return [found[kind] for kind in WORDS]


def _known() -> str:
    return (
        f"places {', '.join(PLACES)}; tints {', '.join(TINTS[1:])}; "
        f"things {', '.join(THINGS)}; "
        f"grounds {', '.join(GROUNDS)}"
    )


def tokenize(sentences: Sequence[str]) -> Tensor:
    """Captions as int64 (n, 4), indices into VOCABULARY: place, tint, thing, ground. An empty
    sentence gives four empty tokens. Raises ValueError as `attributes_of` does."""
    starts = torch.tensor([1 + sum(len(words) for words in CHOICES[:i]) for i in range(len(WORDS))])
    full = [sentence for sentence in sentences if sentence.strip()]
    tokens = torch.zeros(len(sentences), len(WORDS), dtype=torch.int64)
    if full:
        rows = [i for i, sentence in enumerate(sentences) if sentence.strip()]
        tokens[rows] = attributes_of(full) + starts
    return tokens


@lru_cache
def _world() -> tuple[Tensor, Tensor]:
    """All combinations that can be seen, int64 (combinations, 4), and the split of each: 0 for
    training, 1 a held-out triple, 2 a held-out pair."""
    every = torch.cartesian_prod(*(torch.arange(len(words)) for words in CHOICES))
    tinted = torch.stack([_mean_colour(tint) for tint in range(len(TINTS))])  # (tints, things, 3)
    place, tint, thing, ground = every.unbind(dim=1)
    gap = (tinted[tint, thing] - _COLOURS[ground]).norm(dim=1)
    same = torch.tensor([[name == other for other in GROUNDS] for name in TINTS])[tint, ground]
    rng = stream(0, "all", "stickers held out")
    triple = torch.from_numpy(rng.random((len(PLACES), len(THINGS), len(GROUNDS))) < 0.15)
    pair = torch.from_numpy(rng.integers(len(GROUNDS), size=len(THINGS)))
    split = triple[place, thing, ground].long()
    split[pair[thing] == ground] = 2
    seen = (gap >= _MIN_CONTRAST) & ~same
    return every[seen], split[seen]


def combinations(split: str = "all") -> Tensor:
    """The combinations of a split, int64 (combinations, 4).

    "triple" are captions whose (place, thing, ground) never occurs in training, in any tint;
    "pair" those whose (thing, ground) never does, at any place; "train" the rest. A thing that
    could not be seen on its ground, and a tint on a ground of its own name, are in none.
    """
    check.one_of("split", split, SPLITS)
    every, number = _world()
    if split == "all":
        return every
    return every[number == ("train", "triple", "pair").index(split)]


def stickers(
    n: int, size: int = 64, *, split: str = "train", seed: int = 0, jitter: float = 1.0
) -> Stickers:
    """n random stickers of a split; half of them plain. Repeatable: the same arguments give the
    same images. Raises ValueError for a bad argument."""
    check.whole("n", n, 1, MAX_IMAGES)
    known = combinations(split)
    rng = stream(seed, "all", f"stickers {split}")
    plain = known[:, 1] == 0
    weight = torch.where(plain, 1 / plain.sum(), 1 / (~plain).sum()).double().numpy()
    chosen = known[torch.from_numpy(rng.choice(len(known), size=n, p=weight / weight.sum()))]
    return draw_stickers(chosen, size, seed=seed, jitter=jitter)


@one_thread()
def draw_stickers(
    attributes: Tensor, size: int = 64, *, seed: int = 0, jitter: float = 1.0, style: str = "noto"
) -> Stickers:
    """Images of given attributes (n, 4); position, size, angle and ground colour vary a little,
    `jitter` times ±2% of the side, ±3%, ±0.05 radians and ±0.012. In the other drawing `style`,
    "twemoji", the same things look different, in the same places and tints."""
    check.whole("size", size, 16, 128)
    check.number("jitter", jitter, 0.0, 4.0)
    check.one_of("style", style, STYLES)
    n = len(attributes)
    noise = torch.from_numpy(2 * stream(seed, "all", "stickers jitter").random((n, 7)) - 1).float()
    images = torch.empty(n, 3, size, size)
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        images[rows] = _draw(attributes[rows], size, jitter * noise[rows], style)
    return Stickers(images, attributes)


def _draw(attributes: Tensor, size: int, noise: Tensor, style: str) -> Tensor:
    """Images (n, 3, size, size) of attributes (n, 4) with noise (n, 7) in [-1, 1]."""
    place, tint, thing, ground = attributes.unbind(dim=1)
    big = place == 0
    side = torch.where(big, _SIDE["big"], _SIDE["small"]) * (1 + _JITTER_SCALE * noise[:, 0])
    shift = torch.tensor([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])[place] * _OFFSET
    shift = shift + _JITTER_SHIFT * noise[:, 1:3]
    angle = _JITTER_ANGLE * noise[:, 3]
    # image to sprite coordinates, both from -1 to 1; the sprite's box fills ALPHA_SIDE of TILE
    zoom = ALPHA_SIDE / TILE / side
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    x, y = (2 * shift).unbind(dim=1)
    affine = torch.stack(
        [
            torch.stack([cos, sin, -cos * x - sin * y], dim=1),
            torch.stack([-sin, cos, sin * x - cos * y], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(affine, [len(attributes), 4, TILE, TILE], align_corners=False)
    sprite = F.grid_sample(_tinted(style)[tint, thing], grid, align_corners=False)  # (n, 4, 64, 64)
    colour = _COLOURS[ground] + _JITTER_COLOUR * noise[:, 4:7]
    image = sprite[:, :3] + (1 - sprite[:, 3:]) * colour[:, :, None, None]
    if size != TILE:
        image = F.interpolate(image, size=(size, size), mode="bilinear", antialias=size < TILE)
    return image.clamp(0, 1)


@lru_cache
def _tinted(style: str) -> Tensor:
    """Sprites of every thing in every tint, premultiplied, (tints, things, 4, 64, 64).

    A tint keeps light and shade: black to the ink to white, by luminance.
    """
    plain = sprite_bank(THINGS, (style,)).levels[TILE]
    alpha = plain[:, 3:]
    colour = plain[:, :3] / alpha.clamp(min=1e-6)
    light = (colour * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    out = [plain]
    for ink in _INKS:
        ink = ink[:, None, None]
        dark, bright = 2 * light * ink, ink + (2 * light - 1) * (1 - ink)
        out.append(torch.cat([torch.where(light < 0.5, dark, bright) * alpha, alpha], dim=1))
    return torch.stack(out)


def _mean_colour(tint: int) -> Tensor:
    """Of every thing in this tint, (things, 3)."""
    sprites = _tinted("noto")[tint]
    return sprites[:, :3].sum(dim=(2, 3)) / sprites[:, 3:].sum(dim=(2, 3))
