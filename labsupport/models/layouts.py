"""Layouts of sparsity: drawing them at random, what they cost by a table, searching for the best.

A layout gives every pair of blocks of every stage the share of windows that it skips; it does not
decrease within a stage. After X. Chen et al., "SparseViT" (CVPR 2023), sections 3.2 and 3.3.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement, product

CHOICES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
Layout = tuple[tuple[float, ...], ...]


def random_layout(pairs: Sequence[int], rng: random.Random,
                  choices: Sequence[float] = CHOICES) -> Layout:
    """One ratio of `choices` for each of the `pairs` of every stage, in ascending order."""
    return tuple(tuple(sorted(rng.choice(choices) for _ in range(n))) for n in pairs)


def every_layout(pairs: Sequence[int], choices: Sequence[float] = CHOICES) -> list[Layout]:
    """All layouts there are."""
    stages = [list(combinations_with_replacement(sorted(choices), n)) for n in pairs]
    return list(product(*stages))


def predicted_seconds(layout: Sequence[Sequence[float]],
                      table: Mapping[tuple[int, float], float], rest: float) -> float:
    """Seconds of a net by its table: (stage, ratio) -> seconds of one pair, and of the `rest`."""
    return rest + sum(table[stage, ratio] for stage, ratios in enumerate(layout)
                      for ratio in ratios)


def evolve(quality: Callable[[Layout], float], seconds: Callable[[Layout], float], most: float,
           pairs: Sequence[int], rng: random.Random, choices: Sequence[float] = CHOICES,
           population: int = 24, parents: int = 8, rounds: int = 6, mutation: float = 0.3
           ) -> tuple[Layout, dict[Layout, float]]:
    """The best layout found that takes at most `most` seconds, and the quality of all tried.

    Begins with random layouts, plus the sparsest. Each round keeps the best `parents`; half of the
    children are parents of which every ratio is drawn anew with probability `mutation`, half take
    each stage from one of two parents. No layout is tried twice. Raises ValueError where even the
    sparsest layout takes too long.
    """
    sparsest = tuple((max(choices),) * n for n in pairs)
    if seconds(sparsest) > most:
        raise ValueError(f"most={most:g}: even the sparsest layout takes {seconds(sparsest):g}")
    tried = {sparsest: quality(sparsest)}

    def mutated(layout: Layout) -> Layout:
        return tuple(tuple(sorted(rng.choice(choices) if rng.random() < mutation else ratio
                                  for ratio in ratios)) for ratios in layout)

    for step in range(rounds):
        best = sorted(tried, key=tried.get, reverse=True)[:parents]
        wanted, draws = len(tried) + (population - 1 if step == 0 else population), 0
        while len(tried) < wanted and draws < 50 * population:
            draws += 1
            if step == 0:
                child = random_layout(pairs, rng, choices)
            elif draws % 2:
                child = mutated(rng.choice(best))
            else:
                one, other = rng.choice(best), rng.choice(best)
                child = tuple(rng.choice(stages) for stages in zip(one, other))
            if child not in tried and seconds(child) <= most:
                tried[child] = quality(child)
    return max(tried, key=tried.get), tried
