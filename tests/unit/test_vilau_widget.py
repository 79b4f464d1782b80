"""Lab 10's widget, and the pictures that no training shows."""

import pytest
import torch

from labsupport.data.stickers import THINGS, attributes_of, draw_stickers
from labsupport.labs.lab10.strangers import UNKNOWN, any_caption, other_style, unknown_thing
from labsupport.labs.lab10.widget import unified_explorer
from tests.unit.widgets import alerts, control, said

ANSWERS = {"what is it": [("fox", 0.91), ("cat", 0.05)], "where is it": [("left", 0.7)]}


@pytest.fixture
def told():
    return []


@pytest.fixture
def explorer(told):
    def read(image):
        return f"a {'dark' if image.mean() < 0.5 else 'light'} thing", ANSWERS

    def draw(caption, guidance, seed):
        told.append((caption, guidance, seed))
        if "zebra" in caption:
            raise ValueError("unknown word 'zebra'")
        return torch.full((3, 8, 8), 0.2)

    pictures = {
        "dark": lambda variant: torch.full((3, 8, 8), 0.01 * variant),
        "light": lambda variant: torch.full((3, 8, 8), 0.99),
    }
    return unified_explorer(read, draw, pictures, "a fox", 2.0)


def test_it_says_what_it_is_shown_and_draws_what_it_is_told(explorer, told):
    words = said(explorer.widget)
    assert words == explorer.still.words
    for part in ("shown: dark, variant 0", "“a dark thing”", "fox 91.0%, cat 5.0%", "left 70.0%"):
        assert part in words
    assert "“a fox” with guidance 2 and seed 0" in words
    assert told == [("a fox", 2.0, 0)]


def test_another_picture_is_read_and_nothing_drawn_again(explorer, told):
    control(explorer.widget, "show it").value = "light"
    assert "shown: light" in said(explorer.widget) and "“a light thing”" in said(explorer.widget)
    control(explorer.widget, "show it").value = "dark"
    control(explorer.widget, "variant").value = 60
    assert "variant 60" in said(explorer.widget) and "“a light thing”" in said(explorer.widget)
    assert len(told) == 1


def test_caption_guidance_and_seed_are_drawn_with(explorer, told):
    control(explorer.widget, "caption").value = "an owl"
    control(explorer.widget, "guidance").value = 5.0
    control(explorer.widget, "seed").value = 7
    assert told[-1] == ("an owl", 5.0, 7)
    assert "“an owl” with guidance 5 and seed 7" in said(explorer.widget)


def test_a_wrong_caption_is_said_and_the_picture_stays(explorer):
    before = said(explorer.widget)
    control(explorer.widget, "caption").value = "a zebra"
    assert "unknown word 'zebra'" in alerts(explorer.widget) and said(explorer.widget) == before
    control(explorer.widget, "caption").value = "a fox"
    assert not alerts(explorer.widget)


def test_things_without_a_word_stand_on_a_ground_of_stickers():
    assert not set(UNKNOWN) & set(THINGS)
    images = {name: unknown_thing(name, "blue", 32) for name in UNKNOWN}
    ground = draw_stickers(attributes_of(["fox on blue"]), 32, jitter=0.0).images[0, :, 0, 0]
    for name, image in images.items():
        assert image.shape == (3, 32, 32) and 0 <= image.min() and image.max() <= 1, name
        torch.testing.assert_close(image[:, 0, 0], ground)
        covered = (image - ground[:, None, None]).abs().amax(dim=0) > 0.1
        rows, columns = covered.any(dim=1).sum(), covered.any(dim=0).sum()
        assert max(rows, columns) >= 0.8 * 32, name  # as large as a big sticker
    assert not torch.equal(images["dog"], images["octopus"])


def test_another_style_is_another_drawing_of_the_same():
    usual = draw_stickers(attributes_of(["left fox on blue"]), 32, seed=4).images[0]
    other = other_style("left fox on blue", 32, seed=4)
    assert other.shape == usual.shape and not torch.allclose(other, usual, atol=0.05)
    torch.testing.assert_close(other[:, 0, -1], usual[:, 0, -1])  # the ground to the right of it


def test_any_caption_is_one_and_the_same_for_a_seed():
    found = [any_caption(seed) for seed in range(20)]
    assert len(set(found)) > 15 and found == [any_caption(seed) for seed in range(20)]
    attributes_of(found)  # each can be read
