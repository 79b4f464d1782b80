"""Lab 09's parts: a student's functions in the place of the package's draw the same images."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from labsupport.data import stickers
from labsupport.labs.lab09.painter import Painter, larger_tokenizer
from labsupport.models.hart.config import HartConfig
from labsupport.models.hart.diffusion import Diffusion
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.positions import block_causal_mask, grid_angles, rotate
from labsupport.models.hart.sampling import guidance_at, guided, keep_top_k, keep_top_p

SMALL = HartConfig(
    size=24,
    scales=(1, 2, 4),
    codes=32,
    latent_dim=8,
    widths=(8, 16, 16),
    tokenizer_blocks=1,
    dim=32,
    depth=2,
    heads=2,
    residual_width=32,
    residual_depth=2,
)


@pytest.fixture
def hart():
    torch.manual_seed(0)
    made = Hart(SMALL).eval()
    torch.nn.init.normal_(made.residual.net.outputs.weight, std=0.1)  # 0 would make answers equal
    return made


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


class Counted:
    """A function that notes how often it is called."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.function(*arguments)


def broken(*arguments):
    raise NotImplementedError("not written yet")


def test_given_functions_draw_the_same_images_with_and_without_cache(hart, text):
    expected = hart.generate(text, 3)
    own = hart.using(mask=block_causal_mask, angles=grid_angles, attend=attend)
    for cache in (True, False):
        torch.testing.assert_close(
            own.generate(text, 3, cache=cache), expected, atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("name", ["mask", "angles", "attend"])
def test_a_mended_function_works_however_often_its_cell_is_run(hart, text, name):
    """The cells of the lab put `hart` with a student's functions in the place of `hart`."""
    given, expected = hart, hart.generate(text, 2)
    right = {"mask": block_causal_mask, "angles": grid_angles, "attend": attend}
    hart = hart.using(**right | {name: broken})
    with pytest.raises(NotImplementedError):
        hart.generate(text, 2)
    mended = Counted(right[name])
    for _ in range(10):
        hart = hart.using(**right | {name: mended})
    torch.testing.assert_close(hart.generate(text, 2), expected, atol=1e-5, rtol=1e-4)
    passes = len(SMALL.scales)
    assert mended.calls == passes * (SMALL.depth if name == "attend" else 1)
    assert torch.equal(given.generate(text, 2), expected)  # the first one is as it was
    assert mended.calls == passes * (SMALL.depth if name == "attend" else 1)


def test_another_network_with_functions_shares_every_weight(hart):
    own = hart.using(mask=broken)
    for (name, ours), theirs in zip(
        own.state_dict().items(), hart.state_dict().values(), strict=True
    ):
        assert ours.data_ptr() == theirs.data_ptr(), name
    assert own.tokenizer is hart.tokenizer and not own.training
    assert own.using().transformer.mask is block_causal_mask  # as though it had been built so


def test_a_network_built_with_functions_is_the_one_that_is_given_them(hart, text):
    torch.manual_seed(0)
    built = Hart(SMALL, mask=block_causal_mask, angles=grid_angles, attend=attend).eval()
    own = hart.using(attend=attend)
    assert torch.equal(built.transformer(text).logits, own.transformer(text).logits)


def test_without_a_residual_it_is_var(text):
    var = Hart(replace(SMALL, residual_depth=0)).eval()
    assert var.residual is None and set(var.learned()) == {"transformer"}
    assert torch.equal(var.generate(text), var.generate(text, residual=False))
    assert var.using().residual is None


def test_a_wrong_function_shows_in_the_logits(hart, text):
    def stale(q, k, v, angles, mask, cache):
        return attend(q, k, v, angles.flip(0), mask, cache)

    own = hart.using(attend=stale)
    assert not torch.allclose(
        own.transformer(text).logits, hart.transformer(text).logits, atol=1e-4
    )


def test_given_angles_know_the_side_of_training(hart):
    asked = []

    def angles(scales, head_dim, side, offset):
        asked.append((scales, side, offset))
        return grid_angles(scales, head_dim, side, offset)

    own = hart.using(angles=angles)
    for interpolate, side in ((True, 4), (False, 6)):
        expected = hart.transformer.positions((1, 6), interpolate)
        torch.testing.assert_close(own.transformer.positions((1, 6), interpolate), expected)
        assert asked[-1] == ([1, 6], side, stickers.TEXT_LENGTH)


def test_larger_tokenizer_keeps_codes_and_smoothing(hart, text):
    large = larger_tokenizer(hart.tokenizer, (1, 2, 3, 6))
    assert large.size == 36 and large.latent_shape == (8, 6, 6)
    phi, known = large.quantizer.phi, hart.tokenizer.quantizer.phi
    assert isinstance(phi[-1], torch.nn.Identity) and len(phi) == 4
    torch.testing.assert_close(phi[2].weight, known[1].weight)  # the last that there is
    assert hart.generate(text, 2, tokenizer=large).shape == (3, 3, 36, 36)
    assert hart.tokenizer.size == 24  # the tokenizer itself is as it was
