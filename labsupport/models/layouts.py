"""Layouts of sparsity: drawing them at random, what they cost by a table, searching for the best.

A layout gives every pair of blocks of every stage the share of windows that it skips; it does not
decrease within a stage. After X. Chen et al., "SparseViT" (CVPR 2023), sections 3.2 and 3.3.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement, product

CHOICES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
Layout = tuple[tuple[float, ...], ...]


def random_layout(
    pairs: Sequence[int], rng: random.Random, choices: Sequence[float] = CHOICES
) -> Layout:
    """One ratio of `choices` for each of the `pairs` of every stage, in ascending order."""
    return tuple(tuple(sorted(rng.choice(choices) for _ in range(n))) for n in pairs)


def every_layout(pairs: Sequence[int], choices: Sequence[float] = CHOICES) -> list[Layout]:
    """All layouts there are."""
    stages = [list(combinations_with_replacement(sorted(choices), n)) for n in pairs]
    return list(product(*stages))


def predicted_seconds(
    layout: Sequence[Sequence[float]], table: Mapping[tuple[int, float], float], rest: float
) -> float:
    """Seconds of a net by its table: (stage, ratio) -> seconds of one pair, and of the `rest`."""
    return rest + sum(
        table[stage, ratio] for stage, ratios in enumerate(layout) for ratio in ratios
    )


def child_of(
    parents: Sequence[Layout],
    rng: random.Random,
    choices: Sequence[float] = CHOICES,
    mutation: float = 0.3,
) -> Layout:
    """A new layout: a parent of which every ratio is drawn anew with probability `mutation`, or
    each stage from one of two parents; either way half of the time."""
    if rng.random() < 0.5:
        return tuple(
            tuple(
                sorted(
                    rng.choice(choices) if rng.random() < mutation else ratio for ratio in ratios
                )
            )
            for ratios in rng.choice(parents)
        )
    pair = rng.choice(parents), rng.choice(parents)
    return tuple(rng.choice(stages) for stages in zip(*pair))


def evolve(
    quality: Callable[[Layout], float],
    seconds: Callable[[Layout], float],
    most: float,
    start: Sequence[Layout],
    child_of: Callable[[list[Layout]], Layout],
    population: int = 10,
    parents: int = 5,
    rounds: int = 5,
) -> tuple[Layout, dict[Layout, float]]:
    """The best layout found that takes at most `most` seconds, and the quality of all tried.

    Begins with those of `start` that are fast enough. In every round the best `parents` so far
    have children, `child_of(best first)`, until `population` of them are new and fast enough, or
    50 · `population` were made. Only those are asked for their quality, each once. Raises
    ValueError where nothing in `start` is fast enough.
    """
    tried: dict[Layout, float] = {}
    for layout in start:
        if layout not in tried and seconds(layout) <= most:
            tried[layout] = quality(layout)
    if not tried:
        raise ValueError(f"start has no layout that takes at most {most:g} seconds")
    for _ in range(rounds):
        best = sorted(tried, key=tried.__getitem__, reverse=True)[:parents]
        wanted = len(tried) + population
        for _ in range(50 * population):
            child = child_of(best)
            if child not in tried and seconds(child) <= most:
                tried[child] = quality(child)
            if len(tried) == wanted:
                break
    return max(tried, key=tried.__getitem__), tried
