"""Pairs of things in captioned images: what lab 06 trains on, and what it tests.

Some pairs of things never occur in training, so that a test on them asks for combinations that
the network has never seen.
"""

from labsupport.data import Batch, concept_names, scenes
from labsupport.data.splits import stream

SIZE = 32  # pixels
CONCEPTS = 40
SCALE = (0.35, 0.6)  # of the things: 11 to 19 pixels
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def held_out_pair(i: int, j: int) -> bool:
    """Is the pair of classes kept out of training? One in five is, whichever comes first."""
    return (i + j) % 5 == 0


def pair_scenes(
    n: int,
    *,
    held_out: bool = False,
    style: str = "noto",
    split: str = "train",
    seed: int = 0,
    concepts: int = CONCEPTS,
    distinct: bool = False,
) -> Batch:
    """n scenes of two things of 32 x 32 pixels, with captions such as "a cat left of a dog".

    `held_out` says which pairs: those of training or those kept out. `distinct` gives every pair
    once, whichever thing is named first, for lists of captions to choose from; there are then at
    most as many scenes as pairs.
    """
    k = len(concept_names(concepts))
    pairs = [
        (i, j)
        for i in range(k)
        for j in range(k)
        if i != j and held_out_pair(i, j) == held_out and (i < j or not distinct)
    ]
    rng = stream(seed, split, "pairs")
    if distinct:
        chosen = rng.permutation(len(pairs))[:n]
    else:
        chosen = rng.integers(len(pairs), size=n)
    labels = [pairs[index] for index in chosen]
    return scenes(
        len(labels),
        SIZE,
        labels=labels,
        concepts=concepts,
        style=style,
        split=split,
        seed=seed,
        scale=SCALE,
    )


def split_caption(caption: str) -> tuple[str, str, str]:
    """ "a cat left of a dog" as ("a cat", "left of", "a dog"). Raises ValueError for others."""
    for relation in OPPOSITE:
        first, found, second = caption.partition(f" {relation} ")
        if found and "," not in second:
            return first, relation, second
    raise ValueError(f"{caption!r} does not relate two things")


def swapped(caption: str) -> str:
    """The caption with its two things exchanged: the same words, and wrong."""
    first, relation, second = split_caption(caption)
    return f"{second} {relation} {first}"


def fact(caption: str) -> str:
    """What a caption says, said in one way: with "left of" or "above"."""
    first, relation, second = split_caption(caption)
    if relation in ("right of", "below"):
        return f"{second} {OPPOSITE[relation]} {first}"
    return caption


def showcase(n: int = 8) -> Batch:
    """n held-out scenes in which no thing occurs twice, to show every image with every caption."""
    batch = pair_scenes(200, held_out=True, split="test", seed=7, distinct=True)
    used: set[int] = set()
    chosen: list[int] = []
    for index, labels in enumerate(batch.labels.tolist()):
        if len(chosen) < n and not used & set(labels):
            used |= set(labels)
            chosen.append(index)
    return batch[chosen]
