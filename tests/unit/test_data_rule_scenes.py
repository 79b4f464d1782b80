"""Scenes whose classes depend on a sign: what is right, and that only the sign tells it."""

import pytest
import torch
import torch.nn.functional as F

from labsupport.data import rule_scenes as module
from labsupport.data.rule_scenes import CLASSES, FAR, NEAR, rule_scenes


def test_same_arguments_same_scenes_and_a_beginning_is_a_beginning():
    some, more = rule_scenes(6, 64, seed=3), rule_scenes(9, 64, seed=3)
    assert torch.equal(some.images, more.images[:6])
    assert torch.equal(some.targets, more.targets[:6])
    assert not torch.equal(some.images, rule_scenes(6, 64, seed=4).images)
    assert not torch.equal(some.images, rule_scenes(6, 64, seed=3, split="test").images)


def test_shapes_and_ranges():
    scenes = rule_scenes(5, 72)
    assert scenes.images.shape == (5, 3, 72, 72) and scenes.targets.shape == (5, 72, 72)
    assert len(scenes) == 5 and set(scenes.rules.tolist()) <= {0, 1}
    assert scenes.images.min() >= 0 and scenes.images.max() <= 1
    assert scenes.targets.max() < len(CLASSES)


def test_sign_and_things_are_far_apart():
    size = 96
    gap = (FAR - NEAR) * size - 1  # the foremost pixel is at most half a pixel over the edge
    for targets in rule_scenes(200, size, seed=5).targets:
        sign, things = ((targets == 1).nonzero(), (targets >= 2).nonzero())
        assert len(sign) and len(things)
        apart = [
            max(
                things[:, axis].min() - sign[:, axis].max(),
                sign[:, axis].min() - things[:, axis].max(),
            )
            for axis in (0, 1)
        ]
        assert max(apart) >= gap


def test_the_thing_alone_does_not_tell_its_name():
    """Take and leave are equally common, under either rule: a local answer is a guess."""
    scenes = rule_scenes(600, 48, seed=6)
    assert 0.45 < scenes.rules.float().mean() < 0.55
    for rule in (0, 1):
        targets = scenes.targets[scenes.rules == rule]
        share = (targets == 2).sum() / (targets >= 2).sum()
        assert 0.44 < share < 0.56


def test_the_background_does_not_tell_the_sign():
    """The same draws with the other sign have the same background."""
    scenes = rule_scenes(40, 48, seed=8, background="plain")
    other = module.SIGNS[::-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SIGNS", other)
        exchanged = rule_scenes(40, 48, seed=8, background="plain")
    empty = (scenes.targets == 0) & (exchanged.targets == 0)
    inside = F.avg_pool2d(empty.float()[:, None], 5, 1, 2)[:, 0] > 0.99  # no soft edges
    gap = (scenes.images - exchanged.images).abs().amax(1)
    assert gap[inside].max() < 0.02


def test_the_other_rule_exchanges_the_names():
    """Equal layouts occur for both rules only by chance, so the pixels' colours must do: fruit
    is redder or yellower than blue in every style, whatever it is called."""
    scenes = rule_scenes(300, 48, seed=7, background="white")

    def warmth(rule, name):
        chosen = scenes.rules == rule
        mask = scenes.targets[chosen] == name
        return (scenes.images[chosen][:, 0][mask] - scenes.images[chosen][:, 2][mask]).mean()

    assert warmth(0, 2) > warmth(0, 3) and warmth(1, 2) < warmth(1, 3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(n=0), "n is 0"),
        (dict(n=1, size=20), "size is 20"),
        (dict(n=1, split="x"), "split is 'x'"),
        (dict(n=1, style="x"), "style is 'x'"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        rule_scenes(**arguments)
