"""What HART is compared with: one interface, exact caches, nothing seen that should not be."""

import pytest
import torch

from labsupport.data import stickers
from labsupport.labs.lab09.training import sticker_source, train_generator
from labsupport.models.hart.rivals.diffusion_transformer import DiffusionTransformer
from labsupport.models.hart.rivals.masked import MaskedAR, masked_in_training, still_masked
from labsupport.models.hart.rivals.raster import RasterAR
from labsupport.models.hart.tokenizer import HybridTokenizer

WORDS = (len(stickers.VOCABULARY), stickers.TEXT_LENGTH)
SIZES = {"dim": 32, "depth": 2, "heads": 2}


def tokenizer(scales: tuple[int, ...]) -> HybridTokenizer:
    return HybridTokenizer(24, 8, 32, scales, widths=(8, 16, 16), blocks=1)


def make(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if name == "raster":
        return RasterAR(tokenizer((4,)), *WORDS, **SIZES).eval()
    if name == "masked":
        return MaskedAR(tokenizer((1, 2, 4)), *WORDS, **SIZES, width=32, diffusion_depth=1).eval()
    patch = 2 if name == "dit, patch 2" else 1
    return DiffusionTransformer(tokenizer((1, 2, 4)), *WORDS, **SIZES, patch=patch).eval()


NAMES = ("raster", "masked", "dit", "dit, patch 2")


def awake(net: torch.nn.Module) -> torch.nn.Module:
    """Layers that are 0 before training, and would hide mistakes, at random."""
    for p in net.parameters():
        if p.requires_grad and p.dim() > 1 and not p.any():
            torch.nn.init.normal_(p, std=0.1)
    return net


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_its_batch_and_steps_are_told(name):
    net = awake(make(name))
    captions = stickers.tokenize(["big red fox on white", "left cat on black", "top bus on pink"])
    told = []
    options = {"guidance": 1.5, "temperature": 1.0} | (
        {"iterations": 5} if name == "masked" else {}
    )
    images = net.generate(
        captions, 4, seed=[3, 4, 5], on_step=lambda i, x: told.append((i, x)), **options
    )
    assert images.shape == (3, 3, 24, 24) and 0 <= images.min() and images.max() <= 1
    steps = {"raster": 16, "masked": 5}.get(name, 4)
    assert [i for i, _ in told] == list(range(steps))
    torch.testing.assert_close(told[-1][1], images)
    alone = net.generate(captions[1:2], 4, seed=4, **options)
    torch.testing.assert_close(alone, images[1:2], atol=1e-4, rtol=0)
    assert (net.generate(captions, 4, seed=[9, 4, 5], **options)[0] - images[0]).abs().max() > 1e-3
    plain = net.generate(captions, 4, seed=[3, 4, 5], **options | {"guidance": 0.0})
    assert (plain - images).abs().max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_reaches_every_weight(name):
    net = make(name)
    log = train_generator(net, sticker_source(24, 8), steps=100, progress=False, lr=3e-3)
    assert log[-1]["loss"] < 0.93 * log[0]["loss"]
    net.zero_grad()
    loss, _ = net.loss(*sticker_source(24, 4)(0), torch.Generator().manual_seed(0))
    loss.backward()
    for part, p in net.named_parameters():
        assert p.requires_grad != part.startswith("tokenizer.")
        assert not p.requires_grad or p.grad.abs().sum() > 0, part


@pytest.mark.parametrize("kind", [RasterAR, MaskedAR, DiffusionTransformer])
def test_a_tokenizer_stays_as_it_is(kind):
    given = tokenizer((4,))
    before = {name: value.clone() for name, value in given.state_dict().items()}
    net = kind(given, *WORDS, **SIZES)
    for name, value in net.tokenizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_raster_order_sees_only_what_comes_before_and_its_cache_is_exact():
    net = make("raster")
    text, codes = torch.ones(2, 4, dtype=torch.int64), torch.randint(32, (2, 16))
    with torch.no_grad():
        whole = net(text, codes).logits
        assert whole.shape == (2, 16, 32)
        other = codes.clone()
        other[:, 7] = (other[:, 7] + 1) % 32
        changed = (net(text, other).logits - whole).abs().amax(dim=(0, 2)) > 0
        assert changed.tolist() == [False] * 8 + [True] * 8
    captions = stickers.tokenize(["big red fox on white", "left cat on black"])
    torch.testing.assert_close(
        net.generate(captions), net.generate(captions, cache=False), atol=1e-4, rtol=0
    )


def test_raster_order_needs_a_single_scale_and_a_patch_must_fit():
    with pytest.raises(ValueError, match="a single scale"):
        RasterAR(tokenizer((1, 2, 4)), *WORDS, **SIZES)
    with pytest.raises(ValueError, match="patch=3"):
        DiffusionTransformer(tokenizer((1, 2, 4)), *WORDS, **SIZES, patch=3)


def test_masked_tokens_are_unseen_and_decided_few_at_first():
    net = make("masked")
    text, latents = torch.ones(1, 4, dtype=torch.int64), torch.randn(1, 16, 8)
    known = torch.arange(16)[None] < 5
    with torch.no_grad():
        before = net(text, latents, known)
        torch.testing.assert_close(net(text, latents + 1e3 * ~known[..., None], known), before)
        assert not torch.allclose(net(text, latents + known[..., None], known), before)
    for iterations in (1, 4, 16, 64):
        left = [64, *(still_masked(i, iterations, 64) for i in range(iterations))]
        decided = [a - b for a, b in zip(left, left[1:], strict=False)]
        assert left[-1] == 0 and min(decided) >= 1
    assert [still_masked(i, 4, 64) for i in range(4)] == [59, 45, 24, 0]
    places = masked_in_training(3, 64)
    assert 45 <= places.shape[1] <= 64 and all(len(set(row)) == len(row) for row in places.tolist())
