"""The reference Swin equals torchvision's and timm's: outputs, parameters, multiply-accumulates."""

import pytest
import torch
import torchvision
from torchvision.models.swin_transformer import ShiftedWindowAttention, SwinTransformer

from labsupport.models.swin import PatchMerging, Swin, load_torchvision_weights, swin
from labsupport.models.windows import (
    WindowAttention,
    relative_position_index,
    shift_mask,
    shifted_window_attention,
    window_partition,
    window_reverse,
)
from labsupport.profiling.counts import count_macs, count_parameters

# parameters, multiply-accumulates at 224 px; counted on the official code, timm and torchvision
PUBLISHED = {
    "T": (28_288_354, 4_490_566_656),
    "S": (49_606_258, 8_740_875_264),
    "B": (87_768_224, 15_430_946_816),
}


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@torch.no_grad()
def shake(model):
    """Random biases and norms too: fresh ones are 0 and 1, and would hide a wrong mapping."""
    for parameter in model.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))


@torch.no_grad()
def test_logits_equal_torchvision_swin_t():
    theirs = torchvision.models.swin_t(weights=None).eval()
    shake(theirs)
    ours = swin("T").eval()
    load_torchvision_weights(ours, theirs.state_dict())
    images = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_logits_equal_timm_swin_tiny():
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("swin_tiny_patch4_window7_224").eval()
    shake(theirs)
    ours = swin("T").eval()
    ours.load_state_dict(theirs.state_dict())  # timm's names are the same
    images = torch.rand(2, 3, 224, 224)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (50, 70), (64, 33)])
@torch.no_grad()
def test_logits_equal_torchvision_where_windows_and_patches_do_not_fit(size):
    theirs = SwinTransformer([2, 2], 24, [2, 2], [2, 4], [4, 4], num_classes=5).eval()
    shake(theirs)
    ours = Swin(5, 24, (2, 2), (2, 4), window=4, patch_size=2).eval()
    load_torchvision_weights(ours, theirs.state_dict())
    even = tuple(side + side % 2 for side in size)  # torchvision drops what fills no patch
    images = torch.rand(2, 3, *even)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_weights_of_another_size_are_refused_and_change_nothing():
    ours = Swin(5, 24, (2, 2), (2, 4), window=4, patch_size=2)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    theirs = SwinTransformer([2, 2], 24, [2, 2, 2], [2, 4, 8], [4, 4], num_classes=5)
    with pytest.raises(ValueError, match=r"state_dict does not fit the model; not in the model: l"):
        load_torchvision_weights(ours, theirs.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("size", [(14, 21), (7, 21), (14, 7), (7, 7), (9, 16)])
def test_shifted_window_attention_equals_torchvision_with_its_gradient(size, shift):
    theirs = ShiftedWindowAttention(24, [7, 7], [shift, shift], 3)
    shake(theirs)
    ours = WindowAttention(24, 7, 3)
    state = theirs.state_dict()
    state.pop("relative_position_index")
    ours.load_state_dict(state)
    x = torch.randn(2, *size, 24, requires_grad=True)
    results = theirs(x), shifted_window_attention(x, ours, 7, shift)
    gradients = [torch.autograd.grad(result.square().sum(), x)[0] for result in results]
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_macs_are_the_published_integers(name):
    with torch.device("meta"):
        model, images = swin(name), torch.empty(1, 3, 224, 224)
        macs = count_macs(model, images)
    assert (count_parameters(model), macs) == PUBLISHED[name]
    assert shift_mask(56, 56, 7, 3).device.type == "cpu"  # what is kept for later calls


def test_relative_position_index_by_hand():
    assert relative_position_index(2).tolist() == [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]


def test_windows_are_numbered_image_by_image_and_row_by_row():
    x = torch.arange(2 * 4 * 6).view(2, 4, 6, 1)
    windows = window_partition(x, 2)
    assert windows.shape == (12, 4, 1)
    assert windows[1].flatten().tolist() == [2, 3, 8, 9]
    assert windows[3].flatten().tolist() == [12, 13, 18, 19]
    assert torch.equal(window_reverse(windows, 2, 4, 6), x)


def test_shift_mask_blocks_pairs_from_opposite_rims_only():
    mask = shift_mask(4, 4, 2, 1)
    assert mask.shape == (4, 4, 4) and set(mask.unique().tolist()) == {-100.0, 0.0}
    assert not mask[0].any()  # the first window holds no rim
    assert (mask[3] == 0).sum() == 4  # in the last each token comes from another corner
    assert not shift_mask(2, 2, 2, 1).any()  # one window covers the map
    column = shift_mask(4, 2, 2, 1)  # no shift along an axis that one window covers
    assert (column[1] == 0).sum() == 8


def test_patch_merging_joins_column_by_column():
    merge = PatchMerging(1)
    seen = []
    merge.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    merge(torch.tensor([[0.0, 1], [2, 3]]).view(1, 2, 2, 1))
    assert seen[0].flatten().tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: swin("XL"), "name='XL' is not a Swin variant; choose from T, S, B"),
        (lambda: WindowAttention(10, 7, 3), "heads=3 must divide dim=10"),
        (lambda: Swin(depths=(2, 2)), "must have one number a stage each"),
        (lambda: window_partition(torch.zeros(1, 8, 7, 2), 7), "window=7 must divide the map"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
