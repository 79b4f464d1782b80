"""Measures of rebuilt images: known values, and independence of how a set is cut."""

import torch

from labsupport.labs.lab08 import image_quality
from labsupport.models.judges import JudgeNet

IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_psnr_of_a_known_error_is_the_mean_over_images():
    worse = torch.cat([IMAGES[:3] + 0.1, IMAGES[3:] + 0.01])  # 20 and 40 dB
    assert abs(image_quality.psnr(worse, IMAGES) - 30) < 1e-3


def test_ssim_is_one_for_equal_images_and_falls_with_noise():
    assert abs(image_quality.ssim(IMAGES, IMAGES) - 1) < 1e-5
    noisy = IMAGES + 0.2 * torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(1))
    assert image_quality.ssim(noisy.clamp(0, 1), IMAGES) < 0.95


def test_parts_change_no_result():
    sizes = []

    def double(part):
        sizes.append(len(part))
        return 2 * part

    assert torch.equal(image_quality.in_parts(double, IMAGES, 4), 2 * IMAGES)
    assert sizes == [4, 2]


def test_decoded_images_are_clamped_to_the_unit_range():
    assert image_quality.to_unit(torch.tensor([-3.0, -1, 0, 1, 3])).tolist() == [0, 0, 0.5, 1, 1]


def test_an_opinion_is_of_images_at_the_judges_size():
    net = JudgeNet([2, 3], size=32).eval()
    features, words = image_quality.opinion(net, IMAGES, 32)
    assert features.shape == (6, 64) and words.shape == (6, 2)
    assert image_quality.share_right(words, words) == 1
    other = words.clone()
    other[0, 0] = 1 - other[0, 0]
    assert abs(image_quality.share_right(other, words) - 5 / 6) < 1e-9
