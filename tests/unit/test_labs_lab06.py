"""Lab 06's rooms: batches of captions that differ, and the search for images."""

import pytest
import torch
from torch import nn

from labsupport.data import pairs
from labsupport.labs.lab06 import pairs as batches_of_pairs
from labsupport.labs.lab06 import retrieval


def test_batches_have_no_two_equal_keys_and_reach_everything():
    keys = [str(i // 3) for i in range(30)]
    batches = list(batches_of_pairs.distinct_batches(keys, 8, 50, seed=1))
    assert len(batches) == 50
    assert all(len({keys[i] for i in b.tolist()}) == 8 for b in batches)
    assert set(torch.cat(batches).tolist()) == set(range(30))
    again = batches_of_pairs.distinct_batches(keys, 8, 50, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(batches, again))
    with pytest.raises(ValueError, match="batch_size=11, but there are only 10"):
        next(batches_of_pairs.distinct_batches(keys, 11, 1))


def test_training_hands_the_inputs_of_a_batch_to_the_step_and_follows_the_schedule():
    model, seen = nn.Linear(1, 1), []

    def step(given, optimizer, x, y):
        assert given is model and torch.equal(x, y)
        seen.append(optimizer.param_groups[0]["lr"])
        return float(len(x))

    values = torch.arange(20)
    history, scales = batches_of_pairs.train_pairs(
        model,
        step,
        (values, values),
        [str(i) for i in range(20)],
        steps=10,
        batch_size=4,
        lr=0.1,
        progress=False,
    )
    assert history.loss == [4.0] * 10 and history.lr == seen and max(seen) == pytest.approx(0.1)
    assert seen[-1] < 0.02 and scales == [1.0] * 10 and not model.training


def test_same_things_whatever_the_order():
    batch = pairs.pair_scenes(5)
    first, relation, second = pairs.split_caption(batch.captions[2])
    found = retrieval.same_things([f"{second} {relation} {first}", "a cat above a tree"], batch)
    assert found.shape == (2, 5) and found[0, 2]


def test_the_search_widget_follows_text_and_number_and_names_unknown_words_aloud():
    from labsupport.labs.lab06.search_widget import search_explorer
    from labsupport.models.clip.words import tokenize
    from tests.unit.widgets import alerts, control, said

    def encode(captions):
        return torch.nn.functional.normalize(tokenize(captions)[:, :8].float(), dim=1)

    batch = pairs.pair_scenes(12, seed=3)
    vectors = encode(batch.captions)
    widget = search_explorer(encode, vectors, batch, start=batch.captions[0]).widget
    field = control(widget, "caption")
    assert f"“{batch.captions[0]}”" in said(widget)
    field.value = batch.captions[1]
    assert f"“{batch.captions[1]}”" in said(widget) and not alerts(widget)
    control(widget, "or image").value = 3
    assert said(widget).startswith(f"Image 3, {batch.captions[3]}")
    field.value = "a zebra left of a dog"
    assert "'zebra'" in alerts(widget)
