"""Parts of lab 09's experiments: codes of a single scale, and the residual trained alone."""

import torch

from labsupport.data import stickers
from labsupport.experiments.lab09.hart_residual import residual_examples, train_residual
from labsupport.experiments.lab09.hart_systems import flat_tokenizer
from labsupport.experiments.lab09.hart_training import sticker_source
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.residual import ResidualDiffusion
from labsupport.models.hart.tokenizer import HybridTokenizer
from labsupport.models.hart.transformer import HartTransformer

SOURCE = sticker_source(24, 16)


def tokenizer() -> HybridTokenizer:
    torch.manual_seed(0)
    made = HybridTokenizer(24, 8, 32, (1, 2, 4), widths=(8, 16, 16), blocks=1)
    made.start_from(SOURCE(0)[0])
    return made.eval()


def hart() -> Hart:
    small = tokenizer()
    net = HartTransformer(
        len(stickers.VOCABULARY),
        stickers.TEXT_LENGTH,
        small.quantizer.scales,
        small.quantizer.codebook.weight.detach(),
        32,
        2,
        2,
    )
    whole = Hart(small, net, ResidualDiffusion(8, 32, 32, 1))
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
