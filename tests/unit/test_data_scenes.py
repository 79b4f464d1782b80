"""Scenes: masks, boxes and captions are true to what is drawn."""

import torch

from labsupport.data import scenes


def test_scene_labels_differ_within_a_scene_and_can_be_given():
    labels = scenes(300, 8, objects=(1, 5), concepts=6).labels
    number = (labels >= 0).sum(dim=1)
    assert set(number.tolist()) == {1, 2, 3, 4, 5}
    for row in labels.tolist():
        shown = [label for label in row if label >= 0]
        assert len(set(shown)) == len(shown) and row[len(shown) :] == [-1] * (5 - len(shown))
    rows = [[0, 2], [1, -1]]
    assert scenes(2, 16, concepts=3, labels=rows).labels.tolist() == rows


def test_masks_agree_with_instances_boxes_and_labels():
    batch = scenes(60, 48, objects=(1, 4), seed=2)
    masks, instances = batch.masks, batch.instances
    assert torch.equal(masks == 0, instances == 0)
    for i in range(len(batch)):
        for j, label in enumerate(batch.labels[i].tolist()):
            pixels = (instances[i] == j + 1).nonzero()
            if label < 0 or len(pixels) == 0:
                assert len(pixels) == 0 and (batch.boxes[i, j] == -1).all()
                assert batch.visible[i, j] == 0
                continue
            (top, left), (bottom, right) = pixels.amin(0).tolist(), (pixels.amax(0) + 1).tolist()
            assert batch.boxes[i, j].tolist() == [left, top, right, bottom]
            assert (masks[i][instances[i] == j + 1] == label + 1).all()
            assert 0 < batch.visible[i, j] <= 1


def test_captions_are_true_to_the_geometry():
    batch = scenes(400, 64, objects=2, scale=(0.3, 0.4), rotation=0.0, seed=11)
    checked = 0
    for i in range(len(batch)):
        if batch.visible[i].min() < 0.99:
            continue
        centre = (batch.boxes[i, :, :2] + batch.boxes[i, :, 2:]) / 2
        dx, dy = (centre[0] - centre[1]).tolist()
        if abs(abs(dx) - abs(dy)) < 3:  # a diagonal: rounding to pixels may change the axis
            continue
        if abs(dx) > abs(dy):
            expected = "left of" if dx < 0 else "right of"
        else:
            expected = "above" if dy < 0 else "below"
        first, second = (batch.classes[label] for label in batch.labels[i].tolist())
        assert batch.captions[i].split(" ", 1)[1].startswith(f"{first} {expected} a")
        assert batch.captions[i].endswith(f" {second}")
        checked += 1
    assert checked > 250


def test_captions_of_one_and_of_three():
    one = scenes(1, 16, concepts=["apple"], objects=1)
    assert one.captions == ["an apple"]
    three = scenes(1, 32, concepts=["apple", "car", "grapes"], labels=[[0, 1, 2]])
    assert three.captions[0] in {
        f"an apple {how} a car, and grapes" for how in ("left of", "right of", "above", "below")
    }


def test_objects_mostly_stay_in_sight():
    batch = scenes(500, 32, seed=9)
    visible = batch.visible[batch.labels >= 0]
    assert visible.min() > 0 and (visible < 0.5).float().mean() < 0.02
