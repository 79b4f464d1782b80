"""Scenes of two things: what is held out, what a caption says, what meets in a batch."""

import pytest

from labsupport.data import pairs


def test_no_pair_is_both_trained_on_and_held_out():
    trained = {frozenset(row) for row in pairs.pair_scenes(400).labels.tolist()}
    held = {frozenset(row) for row in pairs.pair_scenes(200, held_out=True).labels.tolist()}
    assert trained and held and not trained & held
    assert all(pairs.held_out_pair(*pair) for pair in held)


def test_distinct_lists_name_every_pair_once():
    batch = pairs.pair_scenes(10**4, held_out=True, concepts=12, split="test", distinct=True)
    found = [frozenset(row) for row in batch.labels.tolist()]
    wanted = {frozenset((i, j)) for i in range(12) for j in range(i) if (i + j) % 5 == 0}
    assert len(found) == len(set(found)) and set(found) == wanted


def test_a_fact_is_said_in_one_way_and_exchanged_is_another():
    assert pairs.fact("a dog right of a cat") == "a cat left of a dog"
    assert pairs.fact("a cat below an apple") == "an apple above a cat"
    assert pairs.fact("a cat left of a dog") == "a cat left of a dog"
    assert pairs.swapped("a cat left of a dog") == "a dog left of a cat"
    with pytest.raises(ValueError, match="'a cat' does not relate two things"):
        pairs.fact("a cat")
    with pytest.raises(ValueError, match="does not relate"):
        pairs.fact("a cat left of a dog, and a tree")


def test_showcase_has_no_thing_twice():
    batch = pairs.showcase(6)
    assert len(batch) == 6 and len(set(batch.labels.flatten().tolist())) == 12
