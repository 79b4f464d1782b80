"""Scenes of nested things and clicks on them: what is drawn, and what a click may mean."""

import pytest
import torch
import torch.nn.functional as F

from labsupport.data import held_out, nesting
from labsupport.data.click_scenes import LEVELS, PARENTS, click_scenes
from labsupport.data.clicks import boxes_around, clicks, corrections


@pytest.fixture(scope="module")
def batch():
    return click_scenes(300, 64, seed=1)


def every_mask(scenes):
    """Masks of all nodes, (n, nodes, size, size)."""
    n, nodes = scenes.labels.shape
    image = torch.arange(n).repeat_interleave(nodes)
    return scenes.masks(image, torch.arange(nodes).repeat(n)).unflatten(0, (n, nodes))


def test_repeatable_and_a_beginning_is_a_beginning(batch):
    state = torch.get_rng_state()
    again = click_scenes(7, 64, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("images", "labels", "instance_map", "seen", "visible"):
        assert torch.equal(getattr(again, name), getattr(batch, name)[:7])
    for other in (click_scenes(7, seed=2), click_scenes(7, seed=1, split="test")):
        assert not torch.equal(other.images, again.images)
    part = batch[3:5]
    assert len(part) == 2 and torch.equal(part.images, batch.images[3:5])
    assert torch.equal(batch[4].labels, part.labels[1:])


def test_another_style_shows_the_same_things_in_the_same_places(batch):
    other = click_scenes(60, 64, seed=1, style="twemoji")
    some = batch[:60]
    assert torch.equal(some.labels, other.labels) and set(other.styles) == {"twemoji"}
    # outlines differ, so centres move; they would by some 15 pixels if places were drawn anew
    alone = (some.labels >= 0)[:, :3].sum(1) == 1  # nothing in front
    boxes = [boxes_around(every_mask(x)[alone, 0]) for x in (some, other)]
    centres = [(box[:, :2] + box[:, 2:]) / 2 for box in boxes]
    assert alone.sum() >= 10
    assert (centres[0] - centres[1]).norm(dim=1).max() < 5


def test_a_mask_is_all_that_is_seen_of_a_thing_and_of_what_it_carries(batch):
    masks, shown = every_mask(batch), batch.instance_map.long()
    for node, parent in enumerate(PARENTS.tolist()):
        own = shown == node + 1
        children = [k for k, p in enumerate(PARENTS.tolist()) if p == node]
        assert torch.equal(
            masks[:, node], torch.stack([own, *(masks[:, k] for k in children)]).any(0)
        )
        if parent >= 0:
            assert not (masks[:, node] & ~masks[:, parent]).any()
        assert torch.equal(batch.seen[:, node], own.sum((1, 2)) >= 0.003 * 64**2)
        absent = batch.labels[:, node] < 0
        assert not own[absent].any() and not batch.visible[absent, node].any()
    wholes = masks[:, :3].sum(1)
    assert wholes.max() == 1 and torch.equal(wholes > 0, shown > 0)  # disjoint, and everything


def test_what_lies_on_a_thing_is_in_front_of_it():
    alone = click_scenes(200, 64, wholes=1, seed=4)
    present = alone.labels >= 0
    # the smallest ones are covered by nothing, first parts by those alone
    assert (alone.visible[:, 9][present[:, 9]] == 1).all()
    assert (alone.visible[:, 3][present[:, 3] & ~present[:, 9]] == 1).all()
    assert (alone.visible[:, 0][present[:, 3]] < 1).all()


def test_parts_lie_on_their_whole(monkeypatch):
    """The same scenes without parts show where the wholes are."""
    with_parts = click_scenes(200, 64, wholes=1, seed=4)
    monkeypatch.setattr(nesting, "PARTS", (2.0, 2.0))
    bare = click_scenes(200, 64, wholes=1, seed=4)
    assert torch.equal(bare.labels[:, 0], with_parts.labels[:, 0])
    assert (bare.labels[:, 3:] < 0).all()
    silhouette = bare.instance_map == 1
    masks = every_mask(with_parts)
    for node in (3, 4):
        here = with_parts.labels[:, node] >= 0
        part, below = masks[here, node], silhouette[here]
        share = (part & below).sum((1, 2)) / part.sum((1, 2)).clamp(min=1)
        assert share.mean() > 0.9 and share.quantile(0.02) > 0.5


def test_kinds_repeat_and_parts_differ_from_what_they_are_on(batch):
    labels = batch.labels
    both = (labels[:, 0] >= 0) & (labels[:, 1] >= 0)
    assert 0.2 < (labels[both, 0] == labels[both, 1]).float().mean() < 0.5
    both = (labels[:, 3] >= 0) & (labels[:, 4] >= 0)
    assert 0.35 < (labels[both, 3] == labels[both, 4]).float().mean() < 0.65
    for node, parent in enumerate(PARENTS.tolist()):
        if parent >= 0:
            here = labels[:, node] >= 0
            assert (labels[here, parent] >= 0).all()
            assert (labels[here, node] != labels[here, parent]).all()
    thin = torch.tensor([name in ("anchor", "bicycle", "key") for name in batch.classes])
    carries = labels[:, 3][(labels[:, 0] >= 0) & thin[labels[:, 0]]]
    assert (carries < 0).sum() >= 3  # there were some
    assert (carries >= 0).sum() == sum(
        batch.classes[k] == "key" for k in labels[:, 0][labels[:, 3] >= 0].tolist()
    )
    assert LEVELS[PARENTS[3:]].tolist() == (LEVELS[3:] - 1).tolist()


def test_held_out_concepts_are_not_shown():
    kept, out = held_out(40, 0.2)
    scenes = click_scenes(40, 32, concepts=out, seed=3)
    assert set(scenes.classes) == set(out) and not set(scenes.classes) & set(kept)
    assert scenes.labels.max() < len(out)


@pytest.mark.parametrize("place", ["random", "middle"])
def test_a_click_lies_in_all_that_it_may_mean(batch, place):
    found = clicks(batch, 3, place=place, seed=5)
    assert len(found) == 900 and found.image.tolist() == [i // 3 for i in range(900)]
    x, y = found.points.long().unbind(1)
    rows = torch.arange(900)
    target = found.masks(batch)
    assert target[rows, y, x].all()
    masks, there = found.all_masks(batch), found.meanings >= 0
    assert torch.equal(masks[rows, :, y, x], there)
    # exactly the seen nodes that hold the pixel, the smallest first
    holds = every_mask(batch)[found.image, :, y, x] & batch.seen[found.image]
    assert torch.equal(holds.sum(1), there.sum(1))
    assert holds.gather(1, found.meanings.clamp(min=0))[there].all()
    assert (found.meanings == found.target[:, None]).any(1).all()
    levels = torch.where(there, LEVELS[found.meanings.clamp(min=0)], -1)
    assert (levels[:, :-1] > levels[:, 1:])[there[:, 1:]].all()
    assert torch.equal(found.ambiguous, there.sum(1) > 1)
    assert 0.4 < found.ambiguous.float().mean() < 0.8
    areas = masks.sum((2, 3))
    assert (areas[:, 0] < areas[:, 1])[there[:, 1]].all()


def test_clicks_on_a_scene_do_not_depend_on_the_others(batch):
    some, more = clicks(batch[:5], 2, seed=1), clicks(batch[:9], 2, seed=1)
    assert torch.equal(some.points, more.points[:10])
    assert torch.equal(some.target, more.target[:10])
    assert not torch.equal(some.points, clicks(batch[:5], 2, seed=2).points)


def test_the_middle_is_far_from_the_edge(batch):
    """No pixel of the mask has more of the mask around it, in squares of every side."""
    found = clicks(batch[:40], place="middle")
    masks = found.masks(batch).float()[:, None]
    x, y = found.points.long().unbind(1)
    for reach in (1, 2, 4, 8):
        inner = -F.max_pool2d(-F.pad(masks, (reach,) * 4), 2 * reach + 1, 1)[:, 0]
        possible = inner.flatten(1).any(1)
        assert (inner[torch.arange(40), y, x] == 1)[possible].all()


def test_boxes_hold_their_masks_and_a_hand_is_not_exact():
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[0, 4:10, 2:20] = True
    masks[1, 31, 31] = True
    boxes = boxes_around(masks)
    assert boxes.tolist() == [[2, 4, 20, 10], [31, 31, 32, 32], [-1] * 4]
    many = masks[:1].expand(2000, -1, -1)
    moved = boxes_around(many, noise=True, seed=1)
    gap = moved - boxes[0]
    assert gap.abs().max() <= 20 * 32 / 1024 + 1e-6
    assert 0.3 < gap[:, 1].std() < 0.6  # a tenth of 6, cut off at 0.625
    assert (moved[:, 2:] >= moved[:, :2]).all()
    assert boxes_around(masks, noise=True)[2].tolist() == [-1] * 4


def test_corrections_lie_in_what_is_wrong():
    targets = torch.zeros(400, 16, 16, dtype=torch.bool)
    targets[:, 2:8, 2:8] = True
    answers = targets.roll(2, dims=2)
    points, labels = corrections(answers, targets, seed=2)
    x, y = points.long().unbind(1)
    assert set(labels.tolist()) == {0, 1}
    assert torch.equal(targets[0][y, x], labels == 1) and torch.equal(answers[0][y, x], labels == 0)
    assert 0.4 < (labels == 1).float().mean() < 0.6
    assert corrections(targets[:2], targets[:2])[1].tolist() == [-1, -1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(n=0), "n is 0"),
        (dict(n=1, wholes=4), "wholes is 4"),
        (dict(n=1, wholes=(2, 1)), "wholes is 1"),
        (dict(n=1, concepts=["cat"]), "a part differs"),
        (dict(n=1, split="x"), "split is 'x'"),
        (dict(n=1, style="x"), "style is 'x'"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        click_scenes(**arguments)


def test_bad_clicks_are_refused(batch):
    with pytest.raises(ValueError, match="place is 'corner'"):
        clicks(batch[:2], place="corner")
    with pytest.raises(ValueError, match="each is 0"):
        clicks(batch[:2], 0)
