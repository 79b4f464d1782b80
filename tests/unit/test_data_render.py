"""Rendered images: repeatable, in range, and showing the sprites as asked."""

import importlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from labsupport.data import CONCEPTS, STYLES, load_emoji, scenes, singles

TENSORS = ("images", "labels", "instance_map", "boxes", "visible")


def same(first, second):
    return first.captions == second.captions and all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in TENSORS
    )


@pytest.mark.parametrize("make", [singles, scenes])
def test_same_arguments_give_the_same_images(make):
    assert same(make(40, 32, seed=3), make(40, 32, seed=3))
    assert not torch.equal(make(40, 32, seed=3).images, make(40, 32, seed=4).images)


@pytest.mark.parametrize("make", [singles, scenes])
def test_first_images_do_not_depend_on_how_many_or_on_chunks(make, monkeypatch):
    whole = make(90, 24, seed=1)
    assert same(make(50, 24, seed=1), whole[:50])
    monkeypatch.setattr(importlib.import_module("labsupport.data.drawing"), "_CHUNK", 7)
    assert same(make(90, 24, seed=1), whole)


def test_global_random_numbers_and_threads_play_no_part():
    torch.manual_seed(0)
    np.random.seed(0)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = scenes(30, 32)
        torch.set_num_threads(2)
        torch.manual_seed(5)
        two = scenes(30, 32)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert same(one, two)
    torch.set_rng_state(state)
    scenes(3, 32)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


@pytest.mark.parametrize("make", [singles, scenes])
def test_splits_never_show_the_same_rendering(make):
    parts = [
        make(80, 16, split=split, concepts=4, objects=1)
        if make is scenes
        else make(80, 16, split=split, concepts=4)
        for split in ("train", "test", "all")
    ]
    renderings = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert len(set.union(*renderings)) == 240
    assert parts[0].classes == parts[1].classes == parts[2].classes


@pytest.mark.parametrize("size", [8, 33, 64, 100])
def test_shapes_and_ranges(size):
    single, scene = singles(12, size), scenes(12, size, objects=(2, 4))
    for batch, objects in ((single, 1), (scene, 4)):
        assert len(batch) == 12 == len(batch.captions) == len(batch.styles)
        assert batch.images.shape == (12, 3, size, size) and batch.images.dtype == torch.float32
        assert 0 <= batch.images.min() and batch.images.max() <= 1
        for maps in (batch.masks, batch.instances):
            assert maps.shape == (12, size, size) and maps.dtype == torch.int64
        assert batch.boxes.shape == (12, objects, 4) and batch.visible.shape == (12, objects)
        assert batch.labels.dtype == torch.int64 and batch.classes == CONCEPTS
    assert single.labels.shape == (12,) and scene.labels.shape == (12, 4)


def test_single_labels_are_balanced_or_given():
    counts = torch.bincount(singles(60, 8, concepts=20).labels)
    assert counts.tolist() == [3] * 20
    given = singles(3, 8, concepts=["cat", "dog"], labels=[1, 0, 1])
    assert given.labels.tolist() == [1, 0, 1]
    assert given.captions == ["a dog", "a cat", "a dog"]


def test_mask_is_where_the_sprite_is():
    """On white, what is coloured is the mask and at most a soft edge of one pixel around it."""
    batch = singles(40, 64, concepts=["apple", "heart", "tree"], background="white", seed=1)
    coloured = (batch.images < 0.98).any(dim=1)
    mask = batch.instances > 0
    grown = F.max_pool2d(mask.float(), 3, stride=1, padding=1) > 0
    assert (coloured & mask).sum() > 0.98 * mask.sum()
    assert (coloured & ~grown).sum() < 0.01 * mask.sum()


def test_unrotated_centred_object_is_the_stored_sprite():
    """Placed at its own size in the middle, a sprite must come out pixel by pixel."""
    pack = load_emoji()
    for style in STYLES:
        batch = singles(
            40, 64, style=style, place="centre", background="white", scale=(0.875, 0.875),
            rotation=0.0, flip=False, labels=range(40),
        )  # fmt: skip
        for name, image in zip(CONCEPTS, batch.images, strict=True):
            sprite = torch.from_numpy(pack.sprites[style][pack.find(name)].copy()).float() / 255
            alpha = sprite[..., 3:]
            expected = (sprite[..., :3] * alpha + 1 - alpha).permute(2, 0, 1)
            assert torch.allclose(image, expected, atol=2e-3), (name, style)


def test_flip_draws_both_orientations():
    """Without rotation, every image is the first one or its mirror image."""
    batch = singles(
        200, 32, concepts=["guitar"], place="centre", background="white", scale=(0.9, 0.9),
        rotation=0.0,
    )  # fmt: skip
    first = batch.images[0]
    mirrored = first.flip(-1)
    is_first = (batch.images - first).abs().amax(dim=(1, 2, 3)) < 1e-4
    is_mirrored = (batch.images - mirrored).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert (is_first ^ is_mirrored).all() and 60 < is_first.sum() < 140


def test_whole_object_is_inside_and_of_the_size_asked_for():
    solid = ["heart", "house", "panda"]  # thin ends could be less than half a pixel wide
    common = {"concepts": solid, "scale": (0.5, 0.5), "rotation": 0.0, "seed": 7}
    batch = singles(100, 64, **common)
    left, top, right, bottom = batch.boxes[:, 0].T
    longest = torch.maximum(right - left, bottom - top)
    assert longest.min() >= 30 and longest.max() <= 33
    # Cut off by the border, an object would lose area against the same one in the middle.
    middle = singles(100, 64, **common, place="centre")
    area, whole = ((b.instance_map > 0).sum(dim=(1, 2)).float() for b in (batch, middle))
    assert ((area - whole).abs() / whole).max() < 0.15


def test_styles_share_labels_and_geometry():
    noto, twemoji = (scenes(40, 64, style=style, objects=2) for style in STYLES)
    assert torch.equal(noto.labels, twemoji.labels) and noto.captions == twemoji.captions
    assert not torch.equal(noto.images, twemoji.images)
    whole = (noto.visible == 1) & (twemoji.visible == 1)
    centres = [(b.boxes[..., :2] + b.boxes[..., 2:])[whole] / 2 for b in (noto, twemoji)]
    assert (centres[0] - centres[1]).abs().mean() < 1.0
    mixed = singles(100, 8, style=STYLES)
    assert 30 < mixed.styles.count("noto") < 70


def test_objects_stand_out_from_the_background():
    batch = singles(400, 32, seed=2)
    inside = batch.instance_map > 0
    images = batch.images.permute(0, 2, 3, 1)  # (n, size, size, 3)
    gaps = [
        (image[mask].mean(dim=0) - image[~mask].mean(dim=0)).norm()
        for image, mask in zip(images, inside, strict=True)
    ]
    assert torch.stack(gaps).quantile(0.05) > 0.2


def test_backgrounds_are_what_they_are_called():
    for name, largest in (("white", 0.0), ("plain", 0.0), ("calm", 0.1)):
        batch = singles(40, 32, background=name, place="centre", scale=(0.3, 0.3))
        corner = batch.images[:, :, :5, :5].flatten(2)
        assert corner.std(dim=2).max() <= largest + 1e-6
        assert (name == "white") == bool((corner == 1).all())
