"""Random views of images: shape, range, and what each change does."""

import torch

from labsupport.data import augment as views
from labsupport.data import pairs


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
