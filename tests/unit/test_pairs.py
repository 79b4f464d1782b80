"""Scenes of two things: what is held out, what a caption says, what meets in a batch."""

import pytest
import torch
from torch import nn

from labsupport.data import augment as views
from labsupport.data import pairs
from labsupport.labs.lab06 import retrieval


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


def test_batches_have_no_two_equal_keys_and_reach_everything():
    keys = [str(i // 3) for i in range(30)]
    batches = list(pairs.distinct_batches(keys, 8, 50, seed=1))
    assert len(batches) == 50
    assert all(len({keys[i] for i in b.tolist()}) == 8 for b in batches)
    assert set(torch.cat(batches).tolist()) == set(range(30))
    again = pairs.distinct_batches(keys, 8, 50, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(batches, again))
    with pytest.raises(ValueError, match="batch_size=11, but there are only 10"):
        next(pairs.distinct_batches(keys, 11, 1))


def test_training_hands_the_inputs_of_a_batch_to_the_step_and_follows_the_schedule():
    model, seen = nn.Linear(1, 1), []

    def step(given, optimizer, x, y):
        assert given is model and torch.equal(x, y)
        seen.append(optimizer.param_groups[0]["lr"])
        return float(len(x))

    values = torch.arange(20)
    history, scales = pairs.train_pairs(
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


def test_showcase_has_no_thing_twice():
    batch = pairs.showcase(6)
    assert len(batch) == 6 and len(set(batch.labels.flatten().tolist())) == 12


def test_shares_count_the_diagonal_and_ties_half():
    assert retrieval.top1(torch.tensor([[2.0, 1], [3, 1]])) == 0.5
    first, second = torch.tensor([1.0, 2, 3, 4]), torch.tensor([0.0, 2 + 1e-7, 4, 3])
    assert retrieval.better(first, second) == pytest.approx(2.5 / 4)


def test_same_things_whatever_the_order():
    batch = pairs.pair_scenes(5)
    first, relation, second = pairs.split_caption(batch.captions[2])
    found = retrieval.same_things([f"{second} {relation} {first}", "a cat above a tree"], batch)
    assert found.shape == (2, 5) and found[0, 2]


def test_the_search_widget_follows_text_and_slider_and_names_unknown_words():
    from labsupport.models.clip.words import tokenize
    from tests.unit.test_widgets import parts

    def encode(captions):
        return torch.nn.functional.normalize(tokenize(captions)[:, :8].float(), dim=1)

    batch = pairs.pair_scenes(12, seed=3)
    vectors = encode(batch.captions)
    shown = retrieval.search_explorer(encode, vectors, batch, start=batch.captions[0])
    (picture,), (field,) = parts(shown.widget, "Image"), parts(shown.widget, "Text")
    (slider,), (label,) = parts(shown.widget, "IntSlider"), parts(shown.widget, "Label")
    seen = {bytes(picture.value)}
    field.value = batch.captions[1]
    assert bytes(picture.value) not in seen and not label.value
    seen.add(bytes(picture.value))
    slider.value = 3
    assert bytes(picture.value) not in seen
    field.value = "a zebra left of a dog"
    assert "'zebra'" in label.value


def test_views_keep_shape_and_range_and_differ():
    images = pairs.pair_scenes(4).images
    one, two = views.two_views(images, torch.Generator().manual_seed(0))
    assert one.shape == two.shape == images.shape
    assert 0 <= one.min() and one.max() <= 1
    assert not torch.allclose(one, two) and not torch.allclose(one, images)
    again, _ = views.two_views(images, torch.Generator().manual_seed(0))
    torch.testing.assert_close(one, again)


def test_a_view_without_crop_and_colour_is_the_image_or_its_mirror():
    images = pairs.pair_scenes(8).images
    view = views.random_view(images, torch.Generator().manual_seed(0), smallest=1, colour=0)
    for now, before in zip(view, images):
        close = [torch.allclose(now, b, atol=1e-3) for b in (before, before.flip(-1))]
        assert any(close)
