"""Lab 09's parts: a student's functions in the place of the package's draw the same images."""

import pytest
import torch
import torch.nn.functional as F

from labsupport.data import stickers
from labsupport.labs.lab09.painter import Painter, larger_tokenizer, plug_in
from labsupport.models.hart.diffusion import Diffusion
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.positions import block_causal_mask, grid_angles, rotate
from labsupport.models.hart.residual import ResidualDiffusion
from labsupport.models.hart.sampling import guidance_at, guided, keep_top_k, keep_top_p
from labsupport.models.hart.tokenizer import HybridTokenizer
from labsupport.models.hart.transformer import HartTransformer

SCALES = (1, 2, 4)


@pytest.fixture
def hart():
    torch.manual_seed(0)
    tokenizer = HybridTokenizer(24, 8, 32, SCALES, widths=(8, 16, 16), blocks=1)
    net = HartTransformer(
        len(stickers.VOCABULARY),
        stickers.TEXT_LENGTH,
        SCALES,
        tokenizer.quantizer.codebook.weight,
        dim=32,
        depth=2,
        heads=2,
    )
    residual = ResidualDiffusion(8, 32, 32, 2)
    torch.nn.init.normal_(residual.net.outputs.weight, std=0.1)  # 0 would make all answers equal
    return Hart(tokenizer, net, residual).eval()


@pytest.fixture
def text():
    return stickers.tokenize(["big blue fox on yellow", "left owl on gray", "top star on black"])


def guide(given, free, k, scales, guidance):
    return guided(given, free, guidance_at(k, scales, guidance))


def keep_likely(logits, top_k, top_p):
    return keep_top_p(keep_top_k(logits, top_k), top_p)


def denoise(network, draw, left, steps):
    return Diffusion().sample(network, draw, steps)


def attend(q, k, v, angles, mask, cache):
    held = cache["keys"].shape[2] if cache else 0
    end = held + q.shape[2]
    q, k = rotate(q, angles[held:end]), rotate(k, angles[held:end])
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:end, :end], scale=1.0)


def paint(painter, text, steps, guidance):
    """The loop that the lab's students write."""
    painter.begin(text)
    total, new = 0, None
    for k in range(len(painter.scales)):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        if k + 1 < len(painter.scales):
            total = total + painter.spread(k, painter.vectors(codes))
            new = painter.shrink(total, k + 1)
    tokens = painter.vectors(codes)
    if steps:
        tokens = tokens + painter.residual(out, codes, steps, guidance)
    return painter.decode(total + painter.as_map(tokens))


@pytest.mark.parametrize("options", [{}, {"temperature": 0.8, "top_k": 9, "top_p": 0.9}])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_painter_draws_what_generate_draws(hart, text, steps, options):
    painter = Painter(hart, guide, keep_likely, denoise, seed=5, **options)
    expected = hart.generate(text, steps, 1.5, seed=5, residual=steps > 0, **options)
    torch.testing.assert_close(paint(painter, text, steps, 1.5), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(paint(painter, text, steps, 1.5), expected, atol=1e-5, rtol=1e-4)


def test_plugged_in_functions_draw_the_same_images_with_and_without_cache(hart, text):
    expected = hart.generate(text, 3)
    plug_in(hart, block_causal_mask, grid_angles, attend)
    for cache in (True, False):
        torch.testing.assert_close(
            hart.generate(text, 3, cache=cache), expected, atol=1e-5, rtol=1e-4
        )


def test_a_wrong_function_shows_in_the_logits(hart, text):
    before = hart.transformer(text).logits

    def stale(q, k, v, angles, mask, cache):
        return attend(q, k, v, angles.flip(0), mask, cache)

    plug_in(hart, block_causal_mask, grid_angles, stale)
    assert not torch.allclose(hart.transformer(text).logits, before, atol=1e-4)


def test_plugged_in_angles_know_the_side_of_training(hart):
    asked = []

    def angles(scales, head_dim, side, offset):
        asked.append((scales, side, offset))
        return grid_angles(scales, head_dim, side, offset)

    given = hart.transformer.angles
    plug_in(hart, block_causal_mask, angles)
    for interpolate, side in ((True, 4), (False, 6)):
        expected = given((1, 6), interpolate)
        torch.testing.assert_close(hart.transformer.angles((1, 6), interpolate), expected)
        assert asked[-1] == ([1, 6], side, stickers.TEXT_LENGTH)


def test_larger_tokenizer_keeps_codes_and_smoothing(hart, text):
    large = larger_tokenizer(hart.tokenizer, (1, 2, 3, 6))
    assert large.size == 36 and large.latent_shape == (8, 6, 6)
    phi, known = large.quantizer.phi, hart.tokenizer.quantizer.phi
    assert isinstance(phi[-1], torch.nn.Identity) and len(phi) == 4
    torch.testing.assert_close(phi[2].weight, known[1].weight)  # the last that there is
    assert hart.generate(text, 2, tokenizer=large).shape == (3, 3, 36, 36)
    assert hart.tokenizer.size == 24  # the tokenizer itself is as it was
