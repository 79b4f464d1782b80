"""Lab 01's rooms: widgets whose picture follows the controls, and growing training sets."""

import pytest
import torch
from torch import nn

from labsupport.labs.lab01 import data_scaling as studies
from labsupport.labs.lab01 import widgets
from labsupport.profiling.counts import count_parameters
from tests.unit.widgets import control, parts, said

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def explorer():
    maps = torch.rand(3, 2, 2, 5, 5, generator=torch.Generator().manual_seed(1)).softmax(-1)
    return widgets.attention_explorer(IMAGES, maps, 4, ["first", "second"]).widget


def test_the_patch_chooser_redraws():
    shown = widgets.patch_chooser(IMAGES[0], (2, 4), start=4)
    assert "4 tokens of 3 · 4² = 48 numbers" in said(shown.widget) == shown.still.words
    control(shown.widget, "patch size").value = 2
    assert "16 tokens of 3 · 2² = 12 numbers, 256 pairs" in said(shown.widget)


def test_patch_sizes_must_divide_the_image():
    with pytest.raises(ValueError, match="patch_sizes: 3 does not divide"):
        widgets.patch_chooser(IMAGES[0], (2, 3))


def test_the_explorer_has_a_button_for_every_token_in_its_mean_colour(explorer):
    buttons = parts(explorer, "Button")
    assert len(buttons) == 4
    mean = IMAGES[0, :, :4, 4:].mean((1, 2))  # token 1: row 0, column 1
    red, green, blue = (round(255 * v) for v in mean.tolist())
    assert buttons[1].style.button_color == f"#{red:02x}{green:02x}{blue:02x}"


def test_every_control_of_the_explorer_changes_the_picture(explorer):
    seen = {said(explorer)}
    parts(explorer, "Button")[2].click()
    assert "patch 2" in said(explorer)
    for name, value in (("token", 0), ("layer", 1), ("head", 2), ("image", 1)):
        seen.add(said(explorer))
        control(explorer, name).value = value
        assert said(explorer) not in seen


def test_a_chosen_patch_is_told_in_words_and_the_grid_is_no_64_stops_of_the_tab_key(explorer):
    buttons = parts(explorer, "Button")
    control(explorer, "token").value = 3
    assert [b.description for b in buttons] == ["", "", "✓", ""]
    assert [b.tooltip for b in buttons][1:3] == [
        "patch 1: row 0, column 1",
        "patch 2: row 1, column 0, chosen",
    ]
    assert not any(b.tabbable for b in buttons)


def test_attention_maps_come_from_each_block_in_the_stated_layout():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(4, 12)

        def forward(self, x):
            return self.qkv(x)[..., :4]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = Attention()

        def forward(self, x):
            return x + self.attn(x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Block(), Block()])

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    def attention(q, k, v):
        return v, (q @ k.transpose(-2, -1)).softmax(-1)

    model, x = Model(), torch.randn(3, 5, 4)
    maps = widgets.attention_maps(model, x, attention, heads=2)
    assert maps.shape == (2, 3, 2, 5, 5)
    qkv = model.blocks[0].attn.qkv(x)
    second = attention(qkv[..., 2:4], qkv[..., 6:8], None)[1]  # head 1 of queries and of keys
    torch.testing.assert_close(maps[0, :, 1], second)
    assert not model.blocks[0].attn.qkv._forward_hooks


def linear(hidden=4):
    pixels = 3 * studies.IMAGE_SIZE**2
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.Linear(hidden, 40))


def test_balanced_labels_begin_with_a_smaller_balanced_set():
    labels = studies.balanced_labels(5, classes=3)
    for images_per_class in range(1, 6):
        counts = torch.bincount(labels[: 3 * images_per_class])
        assert counts.tolist() == [images_per_class] * 3


def test_data_scaling_run_gives_one_record_a_run_and_repeats():
    def run():
        records = studies.data_scaling_run(
            linear, linear, sizes=[1, 2], seeds=[0, 1], steps=2, test_images=40, progress=False
        )
        return [{k: v for k, v in record.items() if k != "seconds"} for record in records]

    with torch.random.fork_rng():
        torch.manual_seed(1)
        records = run()
        assert run() == records  # whatever the global seed was
    keys = {(r["model"], r["images_per_class"], r["seed"]) for r in records}
    assert len(records) == len(keys) == 8
    for record in records:
        assert record["parameters"] == count_parameters(linear())
        assert all(0 <= record[name] <= 1 for name in ("train", "test", "other_style"))


def test_data_scaling_run_refuses_unequal_parameters():
    with pytest.raises(ValueError, match="make_cnn gives .* they must agree within 2%"):
        studies.data_scaling_run(linear, lambda: linear(5), sizes=[1], seeds=[0], steps=1)
