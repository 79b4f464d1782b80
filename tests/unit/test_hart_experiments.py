"""Parts of lab 09's experiments: codes of a single scale, and the residual trained alone."""

import torch

from labsupport.experiments.lab09.hart_residual import residual_examples, train_residual
from labsupport.experiments.lab09.hart_systems import flat_tokenizer
from labsupport.labs.lab09.training import sticker_source
from labsupport.models.hart.config import HartConfig
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.tokenizer import HybridTokenizer, new_tokenizer

SOURCE = sticker_source(24, 16)


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
    residual_depth=1,
)


def tokenizer() -> HybridTokenizer:
    torch.manual_seed(0)
    made = new_tokenizer(SMALL)
    made.start_from(SOURCE(0)[0])
    return made.eval()


def hart() -> Hart:
    whole = Hart(SMALL, tokenizer())
    whole.measure(SOURCE(0)[0])
    return whole.eval()


def test_flat_codes_are_centres_of_the_latents_and_the_rest_is_the_same():
    old, images = tokenizer(), SOURCE(1)[0]
    flat = flat_tokenizer(old, images)
    assert flat.quantizer.scales == (4,) and len(flat.quantizer.codebook.weight) == 32
    with torch.no_grad():
        latent = old.encode(images)
        torch.testing.assert_close(flat.encode(images), latent)
        error = (flat.quantizer(latent).discrete - latent).square().mean()
    vectors = latent.flatten(2).mT.flatten(0, 1)
    random = vectors[:32]  # what k-means begins with is no better than this
    nearest = torch.cdist(vectors, random).amin(dim=1).square().mean() / 8
    assert error < 0.9 * nearest
    assert old.quantizer.scales == (1, 2, 4)


def test_the_residual_alone_learns_and_leaves_the_rest_as_it_was():
    whole = hart()
    hidden, total, rest = residual_examples(whole, SOURCE, 2, progress=False)
    assert hidden.shape == (32, 16, 32) and total.shape == rest.shape == (32, 8, 4, 4)
    images = torch.cat([SOURCE(i)[0] for i in range(2)])
    torch.testing.assert_close(
        (total + rest).float(), whole.tokenizer.encode(images), atol=5e-3, rtol=5e-3
    )
    before = {name: p.clone() for name, p in whole.state_dict().items()}
    curve = train_residual(whole, SOURCE, batches=2, steps=1001, progress=False)
    assert [point["step"] for point in curve] == [500, 1000, 1001]
    assert curve[1]["loss"] < 0.95 * curve[0]["loss"]
    for name, p in whole.state_dict().items():
        learned = ("residual.net.", "transformer.around.", "transformer.condition_norm.")
        if not name.startswith(learned):
            assert torch.equal(p, before[name]), name
