"""Widgets: the picture follows the controls, and there is a still one to fall back on."""

import base64

import pytest
import torch
from torch import nn

from labsupport.labs.lab01 import widgets
from labsupport.notebook.environment import report

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PNG = b"\x89PNG"


def parts(widget, kind: str) -> list:
    """All widgets of a class below `widget`, in order."""
    found = [widget] if type(widget).__name__ == kind else []
    for child in getattr(widget, "children", ()):
        found += parts(child, kind)
    return found


@pytest.fixture
def explorer():
    maps = torch.rand(3, 2, 2, 5, 5, generator=torch.Generator().manual_seed(1)).softmax(-1)
    return widgets.attention_explorer(IMAGES, maps, 4, ["first", "second"]).widget


def test_a_playable_carries_the_widget_and_a_still_picture():
    shown = widgets.patch_slider(IMAGES[0], (2, 4))
    bundle = shown._repr_mimebundle_()
    assert bundle[widgets.VIEW]["model_id"] == shown.widget.model_id
    assert base64.b64decode(bundle["image/png"]).startswith(PNG)


def test_the_patch_slider_redraws():
    shown = widgets.patch_slider(IMAGES[0], (2, 4), start=4)
    (picture,), (slider,) = parts(shown.widget, "Image"), parts(shown.widget, "SelectionSlider")
    before = bytes(picture.value)
    slider.value = 2
    assert bytes(picture.value).startswith(PNG) and picture.value != before
    assert shown.still == before


def test_patch_sizes_must_divide_the_image():
    with pytest.raises(ValueError, match="patch_sizes: 3 does not divide"):
        widgets.patch_slider(IMAGES[0], (2, 3))


def test_the_explorer_has_a_button_for_every_token_in_its_mean_colour(explorer):
    buttons = parts(explorer, "Button")
    assert len(buttons) == 1 + 4
    mean = IMAGES[0, :, :4, 4:].mean((1, 2))  # token 1: row 0, column 1
    red, green, blue = (round(255 * v) for v in mean.tolist())
    assert buttons[2].style.button_color == f"#{red:02x}{green:02x}{blue:02x}"


def test_every_control_of_the_explorer_changes_the_picture(explorer):
    (picture,), (layer,) = parts(explorer, "Image"), parts(explorer, "IntSlider")
    (head,), (image,) = parts(explorer, "SelectionSlider"), parts(explorer, "Dropdown")
    buttons = parts(explorer, "Button")
    seen = {bytes(picture.value)}
    for act in (
        buttons[3].click,
        buttons[0].click,
        lambda: setattr(layer, "value", 1),
        lambda: setattr(head, "value", "2"),
        lambda: setattr(image, "value", 1),
    ):
        act()
        assert bytes(picture.value) not in seen
        seen.add(bytes(picture.value))


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


def test_the_environment_report_has_a_line_for_everything(capsys, monkeypatch):
    assert report()
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("[OK]") for line in lines) and len(lines) > 8
    monkeypatch.setattr("labsupport.notebook.environment.NEEDED", ("no-such-library",))
    assert not report()
    assert "[FAIL] no-such-library" in capsys.readouterr().out
