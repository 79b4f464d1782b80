"""Layouts: drawn in order, added up, searched."""

import random
from collections import Counter
from functools import partial

import pytest

from labsupport.models.layouts import (
    CHOICES,
    child_of,
    every_layout,
    evolve,
    predicted_seconds,
    random_layout,
)


def test_random_layouts_are_sorted_and_drawn_evenly():
    rng = random.Random(0)
    drawn = [random_layout((1, 3), rng) for _ in range(3000)]
    assert all(list(stage) == sorted(stage) for layout in drawn for stage in layout)
    counts = Counter(r for layout in drawn for stage in layout for r in stage)
    assert set(counts) == set(CHOICES)
    assert max(counts.values()) < 1.2 * min(counts.values())


def test_every_layout_is_there_once():
    layouts = every_layout((1, 2), (0.0, 0.5))
    assert layouts[0] == ((0.0,), (0.0, 0.0)) and len(set(layouts)) == len(layouts) == 6


def test_seconds_add_up():
    table = {(0, 0.0): 1.0, (1, 0.0): 2.0, (1, 0.5): 1.25}
    assert predicted_seconds(((0.0,), (0.0, 0.5)), table, 10.0) == pytest.approx(14.25)


def test_evolution_keeps_to_the_time_and_finds_nearly_the_best():
    weights = ((3.0,), (1.0, 0.2, 0.1))

    def quality(layout):
        return -sum(w * r**2 for ws, rs in zip(weights, layout) for w, r in zip(ws, rs))

    def seconds(layout):
        return sum(1 - r for stage in layout for r in stage)

    everything = [x for x in every_layout((1, 3)) if seconds(x) <= 2]
    best = max(map(quality, everything))
    worst = min(map(quality, everything))
    for seed in range(3):
        rng = random.Random(seed)
        start = [((0.8,), (0.8, 0.8, 0.8))] + [random_layout((1, 3), rng) for _ in range(20)]
        found, tried = evolve(quality, seconds, 2, start, partial(child_of, rng=rng), rounds=12)
        assert all(seconds(layout) <= 2 for layout in tried) and len(tried) <= 21 + 120
        assert quality(found) == max(tried.values()) > best - 0.02 * (best - worst)
    with pytest.raises(ValueError, match="start has no layout"):
        evolve(quality, seconds, 0.1, start, partial(child_of, rng=rng))


def test_evolution_ends_when_children_are_never_new():
    one = ((0.5,),)
    made = []
    found, tried = evolve(
        lambda x: 1.0,
        lambda x: 1.0,
        2,
        [one, one],
        lambda parents: made.append(parents) or one,
        population=2,
        rounds=3,
    )
    assert found == one and tried == {one: 1.0} and len(made) == 300
