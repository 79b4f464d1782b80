"""The reference ViT equals torchvision's and timm's: outputs, parameters, multiply-accumulates."""

import pytest
import torch
import torchvision

from labsupport.models.cnn import TOLERANCE, PlainCNN, cnn_parameter_count, cnn_with_parameters
from labsupport.models.layers import split_heads
from labsupport.models.vit import (
    VARIANTS,
    MultiHeadAttention,
    PatchEmbedding,
    VisionTransformer,
    load_torchvision_weights,
    parameter_count,
    vit,
)
from labsupport.profiling.counts import count_macs, count_parameters

# name, patch size, image size, parameters, multiply-accumulates; counted on timm's models
PUBLISHED = [
    ("Ti", 16, 224, 5_717_416, 1_253_683_200),
    ("S", 16, 224, 22_050_664, 4_598_882_304),
    ("S", 32, 224, 22_878_952, 1_142_909_952),
    ("B", 8, 224, 86_576_872, 78_148_337_664),
    ("B", 16, 224, 86_567_656, 17_563_828_224),
    ("B", 32, 224, 88_224_232, 4_409_186_304),
    ("B", 16, 384, 86_859_496, 55_484_350_464),
    ("L", 16, 224, 304_326_632, 61_554_712_576),
    ("H", 14, 224, 632_045_800, 167_295_109_120),
]


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def small_vit(**changes):
    sizes = dict(image_size=16, patch_size=4, num_classes=5, dim=24, depth=2, heads=3, mlp_ratio=2)
    return VisionTransformer(**(sizes | changes)).eval()


@torch.no_grad()
def shake(model):
    """Random biases and norms too: fresh ones are 0 and 1, and would hide a wrong mapping."""
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))


@torch.no_grad()
def test_logits_equal_torchvision_vit_b_16():
    theirs = torchvision.models.vit_b_16(weights=None).eval()
    shake(theirs)
    ours = vit("B", 16).eval()
    load_torchvision_weights(ours, theirs.state_dict())
    images = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_logits_equal_timm_vit_tiny():
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("vit_tiny_patch16_224").eval()
    shake(theirs)
    ours = vit("Ti", 16).eval()
    ours.load_state_dict(theirs.state_dict())  # timm's names are the same
    images = torch.rand(2, 3, 224, 224)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, patch_size, image_size, parameters, macs", PUBLISHED)
def test_parameters_and_macs_are_the_published_integers(
    name, patch_size, image_size, parameters, macs
):
    with torch.device("meta"):
        model = vit(name, patch_size, image_size)
        images = torch.empty(1, 3, image_size, image_size)
    assert count_parameters(model) == parameters
    assert count_macs(model, images) == macs
    dim, depth, _ = VARIANTS[name]
    assert parameter_count(dim, depth, patch_size, image_size) == parameters


def test_parameter_count_follows_every_argument():
    model = small_vit(in_channels=1, mlp_ratio=2.5)
    count = parameter_count(
        24, 2, patch_size=4, image_size=16, num_classes=5, mlp_ratio=2.5, in_channels=1
    )
    assert count == count_parameters(model)


@torch.no_grad()
def test_load_torchvision_weights_refuses_another_size_and_changes_nothing():
    model = small_vit()
    before = model.head.weight.clone()
    theirs = torchvision.models.VisionTransformer(
        image_size=16,
        patch_size=4,
        num_layers=3,
        num_heads=3,
        hidden_dim=24,
        mlp_dim=48,
        num_classes=5,
    )
    with pytest.raises(
        ValueError, match=r"state_dict does not fit the model; not in.* blocks\.2\."
    ):
        load_torchvision_weights(model, theirs.state_dict())
    assert torch.equal(model.head.weight, before)


@torch.no_grad()
def test_attention_weights_give_the_output_of_forward():
    attention = MultiHeadAttention(dim=24, heads=3)
    x = torch.randn(2, 7, 24)
    weights = attention.weights(x)
    assert weights.shape == (2, 3, 7, 7)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 7))
    v = split_heads(attention.qkv(x), heads=3)[2]
    by_hand = attention.proj((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(by_hand, attention(x))


@torch.no_grad()
def test_attention_maps_are_those_of_the_blocks():
    model = small_vit()
    images = torch.rand(2, 3, 16, 16)
    maps = model.attention_maps(images)
    assert maps.shape == (2, 2, 3, 17, 17)
    seen = []
    hooks = [
        b.attn.register_forward_pre_hook(lambda m, x: seen.append(m.weights(x[0])))
        for b in model.blocks
    ]
    model(images)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(maps, torch.stack(seen))


def test_patch_embedding_orders_patches_row_by_row():
    embedding = PatchEmbedding(image_size=6, patch_size=2, in_channels=1, dim=1)
    with torch.no_grad():
        embedding.proj.weight.fill_(0.25)
        embedding.proj.bias.zero_()
    means = torch.arange(9.0).view(1, 1, 3, 3)
    images = means.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert embedding(images).flatten().tolist() == list(range(9))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: vit("XL"), "name='XL' is not a ViT variant; choose from Ti, S, B, L, H"),
        (lambda: PatchEmbedding(32, 5, 3, 8), "patch_size=5 must divide image_size=32"),
        (lambda: MultiHeadAttention(10, 3), "heads=3 must divide dim=10"),
        (lambda: small_vit()(torch.rand(1, 3, 8, 8)), r"images has shape \(1, 3, 8, 8\)"),
        (lambda: PlainCNN([4, 4], 5), r"channels=\[4, 4\] must be 5 positive integers"),
        (lambda: cnn_with_parameters(120, 40), "budget=120 cannot be met within 2%"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("budget", [20_000, 150_120, 323_464, 5_717_416])
@pytest.mark.parametrize("num_classes", [10, 40])
def test_cnn_meets_its_parameter_budget(budget, num_classes):
    model = cnn_with_parameters(budget, num_classes)
    assert abs(count_parameters(model) - budget) <= TOLERANCE * budget
    assert cnn_parameter_count(model.channels, num_classes) == count_parameters(model)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, num_classes)
