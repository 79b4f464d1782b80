"""PSNR and SSIM against values known otherwise, on all colours and on the brightness alone."""

import math

import pytest
import torch

from labsupport.metrics.images import brightness, brightness_psnr, brightness_ssim, psnr, ssim


def test_brightness_of_black_and_white():
    assert brightness(torch.zeros(1, 3, 1, 1)).item() == pytest.approx(16 / 255)
    assert brightness(torch.ones(1, 3, 1, 1)).item() == pytest.approx(235 / 255, abs=1e-6)


def test_psnr_of_a_known_error_and_border():
    images = torch.full((2, 3, 8, 8), 0.5)
    worse = images + 0.1
    step = 0.1 * (65.481 + 128.553 + 24.966) / 255
    assert psnr(worse, images) == pytest.approx(20, abs=1e-3)
    assert brightness_psnr(worse, images) == pytest.approx(-20 * math.log10(step), abs=1e-3)
    framed = images.clone()
    framed[..., 0] = 0
    assert brightness_psnr(framed, images, border=1) > 100
    assert brightness_psnr(framed, images, border=0) < 100


def test_ssim_is_one_for_equal_images_only():
    images = torch.rand(2, 3, 24, 24)
    for measure in (ssim, brightness_ssim):
        assert measure(images, images) == pytest.approx(1)
        assert measure(images.flip(3), images) < 0.5
