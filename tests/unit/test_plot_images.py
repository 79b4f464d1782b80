"""Pictures of images, patches and tokens: they show what they are given."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from labsupport.labs.lab01 import diagrams
from labsupport.notebook import plot as figures
from labsupport.notebook.plot import charts, maps
from labsupport.notebook.plot.images import cut
from labsupport.notebook.plot.style import RED

pytestmark = pytest.mark.usefixtures("no_windows")

IMAGE = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))


def red_frames() -> int:
    patches = [p for ax in plt.gcf().axes for p in ax.patches]
    red = matplotlib.colors.to_rgba(RED)
    return sum(tuple(p.get_edgecolor()) == red for p in patches)


def test_cut_numbers_patches_row_by_row():
    patches = cut(IMAGE, 4)
    assert patches.shape == (2, 3, 3, 4, 4)
    assert torch.equal(patches[1, 2], IMAGE[:, 4:8, 8:12])


def test_pixels_are_channels_last_and_grey_becomes_rgb():
    assert figures.pixels(IMAGE).shape == (8, 12, 3)
    assert figures.pixels(torch.full((1, 2, 2), 2.0)).max() == 1.0


def test_compare_tokens_frames_only_what_differs():
    tokens = cut(IMAGE, 4).flatten(0, 1).flatten(1)
    figures.compare_tokens(tokens, IMAGE, 4)
    assert red_frames() == 0
    figures.compare_tokens(tokens[[1, 0, 2, 3, 4, 5]], IMAGE, 4)
    assert red_frames() == 2


def test_every_picture_draws():
    figures.use_style()
    figures.show_images(torch.stack([IMAGE, IMAGE]), ["one", "two"], title="two images")
    texts = {t.get_text() for ax in plt.gcf().axes for t in ax.texts}
    assert texts == {"one", "two"} and plt.gcf().get_suptitle() == "two images"
    figures.show_patches(IMAGE, 4)
    figures.show_grids(IMAGE, (2, 4))
    assert "6 tokens" in plt.gcf().axes[1].get_title()
    maps.compare_maps(torch.eye(3), torch.zeros(3, 3))
    assert "difference, at most 1" in plt.gcf().axes[2].get_title()
    maps.show_maps([torch.eye(3), torch.eye(2)], ["a", "b"])
    maps.show_attention(IMAGE, torch.rand(2, 6), [0, None], 4, ["patch", "class token"])
    diagrams.show_vit(IMAGE, 4, title="a ViT")
    diagrams.show_heads(4, 6, 3)
    charts.lines([1, 2, 4], {"a": [1, 2, 3]}, logx=True)
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()


def test_rows_of_axes_have_a_label_each_and_no_ticks():
    for frames in (True, False):
        fig, axes = figures.rows_of_axes(
            ["one", "two"], 3, inches=1.5, margin=(0.5, 0.25), frames=frames
        )
        assert axes.shape == (2, 3) and list(fig.get_size_inches()) == [5.0, 3.25]
        assert all(not len(ax.get_xticks()) and ax.axison == frames for ax in axes.flat)
        said = [ax.get_ylabel() or ax.texts[0].get_text() for ax in axes[:, 0]]
        assert said == ["one", "two"] and not any(ax.get_ylabel() for ax in axes[:, 1:].flat)


def test_rows_below_images_are_empty_and_named():
    images = torch.stack([IMAGE, IMAGE])
    fig, axes = figures.rows_below(images, ["a", "b"], inches=1, margin=(1, 1))
    assert axes.shape == (2, 2) and [ax.get_ylabel() for ax in axes[:, 0]] == ["a", "b"]
    assert fig.axes[0].get_ylabel() == "image" and len(fig.axes[1].images) == 1
    assert not any(ax.images for ax in axes.flat)
