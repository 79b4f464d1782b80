"""Things in random colours: hues turn, greys and everything else stay."""

import math

import torch

from labsupport.data import singles
from labsupport.data.hues import shapes, turn_hues


def test_turning_by_a_third_exchanges_the_primaries_and_a_full_turn_is_none():
    image = torch.rand(1, 3, 4, 5) * 0.4 + 0.3
    third = turn_hues(image, torch.tensor([2 * math.pi / 3]))
    torch.testing.assert_close(third, image[:, [2, 0, 1]])
    torch.testing.assert_close(turn_hues(image, torch.tensor([2 * math.pi])), image)


def test_greys_stay_and_the_mean_of_the_channels_too():
    grey = torch.rand(3, 1, 4, 4).expand(-1, 3, -1, -1)
    angles = torch.tensor([0.3, 2.0, 5.0])
    torch.testing.assert_close(turn_hues(grey, angles), grey)
    image = torch.rand(3, 3, 4, 4) * 0.2 + 0.4  # nothing is cut off
    torch.testing.assert_close(turn_hues(image, angles).mean(1), image.mean(1))


def test_shapes_repeat_and_are_singles_of_which_only_colours_differ():
    first, again, other = (shapes(80, split="train", seed=s) for s in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(shapes(40, split="train").images, first.images[:40])
    plain = singles(
        80,
        32,
        concepts=40,
        split="train",
        seed=0,
        background="plain",
        scale=(0.75, 1.0),
        rotation=0.2,
    )
    assert torch.equal(plain.labels, first.labels)
    assert torch.bincount(first.labels).tolist() == [2] * 40
    assert (plain.images.mean(1) - first.images.mean(1)).abs().mean() < 0.01
    assert (plain.images - first.images).abs().mean() > 0.05
    assert torch.equal(plain.images, shapes(80, split="train", natural=True).images)
