import copy
import json

import pytest
import torch

from labsupport.data import data_path
from labsupport.data.stickers import stickers
from labsupport.data.transforms import normalize
from labsupport.experiments.lab08.hart_tokenizer import (
    revive,
    round_weights,
    sharpness,
    train_tokenizer,
)
from labsupport.models.hart.shipped import pretrained
from labsupport.models.hart.tokenizer import HybridTokenizer
from labsupport.models.weights import load_checkpoint, save_checkpoint


def tiny(**more):
    torch.manual_seed(0)
    return HybridTokenizer(
        **(
            {
                "size": 32,
                "dim": 8,
                "codebook_size": 64,
                "scales": (1, 2, 4),
                "widths": (8, 16, 16),
                "blocks": 1,
            }
            | more
        )
    )


def test_shapes():
    tokenizer = tiny()
    images = torch.rand(2, 3, 32, 32)
    made = tokenizer.tokenize(images)
    assert tokenizer.encode(images).shape == (2, *tokenizer.latent_shape) == (2, 8, 4, 4)
    assert made.indices.shape == (2, 1 + 4 + 16)
    assert tokenizer.decode(made.discrete).shape == images.shape


def test_it_begins_as_the_best_linear_tokenizer():
    images = normalize(stickers(300, 32, seed=1).images)
    tokenizer = tiny(dim=16)
    tokenizer.start_from(images)
    made = tokenizer.decode(tokenizer.encode(images))
    patches = torch.nn.functional.unfold(images, 8, stride=8).mT.flatten(0, 1)
    centred = patches - patches.mean(dim=0)
    lost = torch.linalg.svdvals(centred)[16:].square().sum() / centred.numel()
    mean = patches.mean(dim=0).view(3, -1)
    coarse = (mean - mean.mean(dim=1, keepdim=True)).square().mean()  # its bias has three numbers
    error = (made - images).square().mean()
    assert lost * 0.99 <= error <= lost + coarse + 1e-4
    assert tokenizer.encode(images).var().item() == pytest.approx(1, abs=0.1)


def test_training_improves_both_paths_and_uses_the_codes():
    tokenizer = tiny()
    losses = train_tokenizer(tokenizer, steps=60, batch_size=16, progress=False, bfloat16=False)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    found = sharpness(tokenizer, "triple", 100)
    assert found["continuous"] > found["discrete"] > 14
    used = tokenizer.tokenize(normalize(stickers(100, 32).images)).indices.unique()
    assert len(used) > 32


def test_dead_codes_move_to_what_has_to_be_explained():
    tokenizer = tiny()
    latent = tokenizer.encode(normalize(stickers(16, 32).images)) + 5
    used = torch.zeros(64)
    used[:10] = 1
    kept = tokenizer.quantizer.codebook.weight[:10].clone()
    indices = tokenizer.quantizer(latent).indices
    before = (latent - tokenizer.quantizer(latent).discrete).square().mean()
    revive(tokenizer, latent.detach(), indices, used, torch.Generator().manual_seed(0))
    assert torch.equal(tokenizer.quantizer.codebook.weight[:10], kept)
    assert (latent - tokenizer.quantizer(latent).discrete).square().mean() < before


def test_a_file_of_half_precision_is_read_back(tmp_path):
    tokenizer, other = tiny(), tiny()
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    round_weights(tokenizer)
    save_checkpoint(copy.deepcopy(tokenizer).half(), tmp_path / "x.safetensors")
    load_checkpoint(other, tmp_path / "x.safetensors")
    assert all(
        torch.equal(a, b)
        for a, b in zip(tokenizer.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_a_size_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="size=30"):
        tiny(size=30)


def test_the_shipped_tokenizer_is_as_sharp_as_its_record_says():
    tokenizer = pretrained("tokenizer")
    record = json.loads(data_path("results", "08_hart_tokenizer.json").read_text())
    (triple,) = [r for r in record["records"] if r["split"] == "triple"]
    found = sharpness(tokenizer, "triple", record["settings"]["test_images"])
    for path in ("discrete", "continuous"):
        assert found[path] == pytest.approx(triple[path], abs=0.1)
