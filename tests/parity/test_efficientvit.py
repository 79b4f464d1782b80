"""The reference EfficientViT equals timm's: outputs, parameters, multiply-accumulates."""

from functools import partial

import pytest
import torch
from torch import nn

from labsupport.models.efficientvit.attention import (
    EfficientViTModule,
    MultiScaleAttention,
    relu_linear_attention,
    softmax_attention,
)
from labsupport.models.efficientvit.backbone import b_backbone, backbone
from labsupport.models.efficientvit.convolutions import MBConv
from labsupport.models.efficientvit.heads import (
    SegmentationHead,
    Segmenter,
    SuperResolution,
    classifier,
    segmenter,
)
from labsupport.models.efficientvit.timm_weights import load_timm_weights
from labsupport.profiling.counts import count_macs, count_parameters

# name, image size, parameters, multiply-accumulates; counted on the published code and on timm's.
# The published table rounds them: B1 9.1M and 0.52G, B2 24M and 1.6G, B3 49M and 4.0G, L1 53M and
# 5.3G, L2 64M and 6.9G, L3 246M and 28G (it has no B0).
CLASSIFIERS = [
    ("B0", 224, 3_410_008, 100_233_216),
    ("B1", 224, 9_102_024, 519_214_592),
    ("B1", 256, 9_102_024, 676_915_712),
    ("B1", 288, 9_102_024, 855_643_648),
    ("B2", 224, 24_330_712, 1_584_937_984),
    ("B2", 288, 24_330_712, 2_614_475_776),
    ("B3", 224, 48_646_056, 3_953_822_208),
    ("B3", 288, 48_646_056, 6_530_386_432),
    ("L1", 224, 52_654_088, 5_258_479_616),
    ("L2", 224, 63_707_016, 6_949_862_400),
    ("L2", 384, 63_707_016, 20_398_822_400),
    ("L3", 224, 246_037_288, 27_586_525_184),
    ("L3", 384, 246_037_288, 80_981_960_704),
]
BACKBONES = [("B0", 682_608, 91_219_968), ("L0", 27_805_472, 4_504_600_576)]
SEGMENTERS = [
    ("B0", "cityscapes", 706_691, 4_391_436_288),
    ("B1", "cityscapes", 4_803_443, 25_105_006_592),
    ("B2", "cityscapes", 15_323_779, 73_641_492_480),
    ("B3", "cityscapes", 39_603_155, 179_227_852_800),
    ("L1", "cityscapes", 40_242_227, 282_480_082_944),
    ("L2", "cityscapes", 52_607_923, 396_122_652_672),
    ("B1", "ade20k", 4_791_414, 3_090_415_616),
    ("B2", "ade20k", 15_293_382, 9_083_289_600),
    ("B3", "ade20k", 39_546_198, 22_173_843_456),
    ("L1", "ade20k", 40_409_526, 36_338_663_424),
    ("L2", "ade20k", 51_462_454, 45_175_275_520),
]


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@torch.no_grad()
def shake(model):
    """Random norms and running statistics too: fresh ones would hide a wrong mapping."""
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.mul_(0.5 + torch.rand_like(value))
        elif value.is_floating_point():
            value.add_(0.02 * torch.randn_like(value))


def use_eps(model, eps):
    for part in model.modules():
        if isinstance(part, MultiScaleAttention):
            part.attention = partial(relu_linear_attention, eps=eps)


@torch.no_grad()
@pytest.mark.parametrize(
    "name, side", [("B0", 224), ("B1", 256), ("B2", 224), ("B3", 224), ("L1", 224), ("L2", 224)]
)
def test_logits_equal_timm(name, side):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(f"efficientvit_{name.lower()}").eval()
    shake(theirs)
    ours = classifier(name).eval()
    load_timm_weights(ours, theirs.state_dict())
    use_eps(ours, 1e-5)  # timm's; the published code has 1e-15
    images = torch.randn(1, 3, side, side)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.slow
def test_logits_of_the_largest_equal_timm():
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("efficientvit_l3").eval()
    shake(theirs)
    ours = classifier("L3").eval()
    load_timm_weights(ours, theirs.state_dict())
    use_eps(ours, 1e-5)
    images = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_gradients_and_batch_statistics_equal_timm():
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("efficientvit_b0", num_classes=7).train()
    shake(theirs)
    ours = classifier("B0", 7).train()
    load_timm_weights(ours, theirs.state_dict())
    use_eps(ours, 1e-5)
    images = torch.randn(2, 3, 128, 128)
    for model in (ours, theirs):
        model(images).square().sum().backward()
    torch.testing.assert_close(
        ours.backbone.stem[0].conv.weight.grad,
        theirs.stem.in_conv.conv.weight.grad,
        rtol=1e-3,
        atol=1e-4,
    )
    for mine, other in (
        (
            ours.backbone.stages[3][1].context_module.main.proj.norm,
            theirs.stages[3].blocks[1].context_module.main.proj.norm,
        ),
    ):
        torch.testing.assert_close(mine.running_mean, other.running_mean)


@pytest.mark.parametrize("name, side, parameters, macs", CLASSIFIERS)
def test_classifiers_have_the_published_integers(name, side, parameters, macs):
    with torch.device("meta"):
        model, images = classifier(name).eval(), torch.empty(1, 3, side, side)
    assert count_parameters(model) == parameters
    assert count_macs(model, images) == macs


@pytest.mark.parametrize("name, parameters, macs", BACKBONES)
def test_backbones_have_the_published_integers(name, parameters, macs):
    with torch.device("meta"):
        model, images = backbone(name).eval(), torch.empty(1, 3, 224, 224)
    assert count_parameters(model) == parameters
    assert count_macs(model, images) == macs


@pytest.mark.parametrize("name, dataset, parameters, macs", SEGMENTERS)
def test_segmenters_have_the_published_integers(name, dataset, parameters, macs):
    size = {"cityscapes": (1024, 2048), "ade20k": (512, 512)}[dataset]
    with torch.device("meta"):
        model, images = segmenter(name, dataset).eval(), torch.empty(1, 3, *size)
    assert count_parameters(model) == parameters
    assert count_macs(model, images) == macs


@pytest.mark.parametrize(
    "dim, head_dim, attention, module, macs",
    [
        (32, 16, 9_120, 18_784, 4_032_896),
        (64, 16, 28_480, 64_192, 13_284_096),
        (128, 16, 97_920, 234_880, 47_441_408),
        (96, 32, 62_688, 140_832, 29_860_992),
        (256, 32, 371_968, 908_032, 183_995_392),
    ],
)
def test_module_has_the_published_integers(dim, head_dim, attention, module, macs):
    block = EfficientViTModule(dim, head_dim).eval()
    assert count_parameters(block.context_module) == attention
    assert count_parameters(block) == module
    assert count_macs(block, torch.zeros(1, dim, 14, 14)) == macs


@pytest.mark.parametrize(
    "inputs, outputs, stride, fewer_norm, parameters",
    [(16, 32, 2, False, 3_968), (32, 32, 1, False, 9_920), (64, 128, 2, True, 52_224)],
)
def test_mbconv_has_the_published_integers(inputs, outputs, stride, fewer_norm, parameters):
    block = MBConv(inputs, outputs, stride, 4, fewer_norm).eval()
    assert count_parameters(block) == parameters
    assert block(torch.zeros(1, inputs, 6, 10)).shape == (1, outputs, 6 // stride, 10 // stride)


@pytest.mark.parametrize("tokens", [3, 8, 9, 40])  # d = 8: both orders
def test_relu_attention_is_the_average_with_relu_shares(tokens):
    q, k, v = (torch.randn(2, 3, n, 8, dtype=torch.float64) for n in (5, tokens, tokens))
    q[..., 0] = 1  # at least one positive entry in common
    k[..., 0] = 1
    shares = q.relu() @ k.relu().transpose(-2, -1)
    shares = shares / shares.sum(-1, keepdim=True)
    torch.testing.assert_close(relu_linear_attention(q, k, v), shares @ v)


def test_relu_attention_takes_the_cheaper_order():
    for tokens, macs in ((4, 2 * 4 * 4 * 8 + 4 * 4), (100, 2 * 100 * 8 * 9)):
        x = torch.randn(1, 1, tokens, 8)
        assert count_macs(relu_linear_attention, x, x, x) == macs


def test_relu_attention_of_a_dead_query_is_zero_and_its_gradient_finite():
    q, k, v = (torch.randn(1, 1, 20, 4) for _ in range(3))
    q[0, 0, 3] = -1
    inputs = [t.requires_grad_() for t in (q, k, v)]
    out = relu_linear_attention(*inputs)
    assert (out[0, 0, 3] == 0).all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), inputs))


def test_relu_attention_survives_half_precision():
    x = (6 * torch.randn(1, 1, 4096, 16)).half()
    out = relu_linear_attention(x, x, x)
    assert out.dtype == torch.float16 and out.isfinite().all()


def test_network_of_the_lab():
    widths = (16, 32, 48, 64)
    net = Segmenter(b_backbone(widths, (1, 1, 1, 1)), SegmentationHead(widths[1:], 32, 4)).eval()
    assert net(torch.zeros(2, 3, 96, 64)).shape == (2, 4, 96, 64)
    assert [tuple(x.shape[1:]) for x in net.backbone(torch.zeros(1, 3, 64, 32))] == [
        (32, 16, 8),
        (48, 8, 4),
        (64, 4, 2),
    ]


def test_context_can_be_replaced():
    plain = b_backbone((8, 16, 16), (1, 1, 1), context=lambda dim: nn.Identity())
    soft = b_backbone(
        (8, 16, 16),
        (1, 1, 1),
        context=lambda dim: MultiScaleAttention(dim, 8, (), softmax_attention),
    )
    assert isinstance(plain.stages[1][1].context_module, nn.Identity)
    assert soft(torch.zeros(1, 3, 32, 32))[-1].shape == (1, 16, 4, 4)


@torch.no_grad()
def test_untrained_super_resolution_is_bicubic():
    images = torch.rand(1, 3, 12, 20)
    net = SuperResolution(dim=16, depth=1, scale=2).eval()
    base = nn.functional.interpolate(images, scale_factor=2, mode="bicubic", align_corners=False)
    torch.testing.assert_close(net(images), base)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: backbone("B9"), "name='B9' is not an EfficientViT variant; choose from B0, B1"),
        (lambda: classifier("L0"), "name='L0' has no published classifier; choose from B0"),
        (
            lambda: segmenter("B0", "ade20k"),
            "no published head of 'B0' for 'ade20k'; there are city",
        ),
        (lambda: MultiScaleAttention(8, 16), "head_dim=16 must lie between 1 and dim=8"),
        (
            lambda: load_timm_weights(classifier("B0"), {}),
            "state_dict does not fit the model; missing ",
        ),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
