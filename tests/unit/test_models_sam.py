"""SAM's losses, its automatic masks, the small pair, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labsupport import models
from labsupport.models.sam.automatic import segment_everything, stability_score
from labsupport.models.sam.frame import masks_in_image, points_in_frame, size_in_frame
from labsupport.models.sam.losses import (
    cross_entropy,
    dice_loss,
    focal_loss,
    mask_iou,
    promptable_loss,
)
from labsupport.models.sam.mask_decoder import Masks
from labsupport.models.sam.model import sam
from labsupport.models.sam.prompt_encoder import PromptEncoder
from labsupport.profiling.counts import count_macs, count_parameters


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def squares(*corners, side=8):
    """Masks of squares (left, top, right, bottom), as floats (n, side, side)."""
    masks = torch.zeros(len(corners), side, side)
    for mask, (left, top, right, bottom) in zip(masks, corners, strict=True):
        mask[top:bottom, left:right] = 1
    return masks


def test_focal_loss_by_its_formula():
    logits, targets = torch.randn(3, 4, 4), (torch.rand(3, 4, 4) > 0.5).float()
    p = logits.sigmoid()
    right = torch.where(targets > 0, p, 1 - p)
    alpha = torch.where(targets > 0, 0.25, 0.75)
    expected = (-alpha * (1 - right) ** 2 * right.log()).mean(dim=(1, 2))
    torch.testing.assert_close(focal_loss(logits, targets), expected)
    expected = (-right.log()).mean(dim=(1, 2))
    torch.testing.assert_close(cross_entropy(logits, targets), expected)


def test_dice_loss_and_iou_of_masks_by_counting():
    logits, target = 100 * (2 * squares((0, 0, 4, 4)) - 1), squares((2, 0, 6, 4))
    torch.testing.assert_close(dice_loss(logits, target), torch.tensor([1 - 17 / 33]))
    torch.testing.assert_close(mask_iou(logits, target), torch.tensor([8 / 24]))
    assert mask_iou(-torch.ones(1, 2, 2), torch.zeros(1, 2, 2)) == 0


def test_only_the_nearest_mask_gets_a_gradient():
    targets = squares((0, 0, 4, 4), (4, 4, 8, 8))
    logits = torch.randn(2, 3, 8, 8)
    logits[0, 1] += 3 * (2 * targets[0] - 1)
    logits[1, 2] += 3 * (2 * targets[1] - 1)
    logits.requires_grad_()
    scores = torch.rand(2, 3, requires_grad=True)
    loss = promptable_loss(logits, scores, targets)
    assert loss.chosen.tolist() == [1, 2]
    loss.total.backward(retain_graph=True)
    moved = logits.grad.abs().sum(dim=(2, 3)) > 0
    assert moved.tolist() == [[False, True, False], [False, False, True]]
    assert (scores.grad != 0).tolist() == moved.tolist()  # nor does the IoU of the others learn
    scores.grad = None
    promptable_loss(logits, scores, targets, every_score=True).total.backward()
    true = mask_iou(logits, targets[:, None])  # each candidate's own
    torch.testing.assert_close(scores.grad, 2 * (scores.detach() - true) / 6)


def test_the_loss_is_twenty_focal_and_one_dice_and_one_squared_error():
    targets, logits, scores = squares((1, 2, 5, 7)), torch.randn(1, 3, 8, 8), torch.rand(1, 3)
    loss = promptable_loss(logits, scores, targets)
    each = [20 * focal_loss(x, targets[0]) + dice_loss(x, targets[0]) for x in logits[0]]
    torch.testing.assert_close(loss.mask, min(each))
    true = torch.stack([mask_iou(x, targets[0]) for x in logits[0]])
    torch.testing.assert_close(loss.true_iou[0], true)
    chosen = loss.chosen[0]
    torch.testing.assert_close(loss.iou, (scores[0, chosen] - true[chosen]) ** 2)
    torch.testing.assert_close(loss.total, loss.mask + loss.iou)
    every = promptable_loss(logits, scores, targets, every_score=True)
    torch.testing.assert_close(every.iou, F.mse_loss(scores[0], true))


def test_efficientvit_sams_loss_has_cross_entropy_and_no_iou():
    targets, logits = squares((1, 2, 5, 7), (0, 0, 8, 3)), torch.randn(2, 3, 8, 8)
    scores = torch.rand(2, 3, requires_grad=True)
    loss = promptable_loss(
        logits, scores, targets, pixel_loss=cross_entropy, weights=(20.0, 1.0, 0.0)
    )
    goal = targets[:, None].expand_as(logits)
    each = 20 * cross_entropy(logits, goal) + dice_loss(logits, goal)
    keep = F.one_hot(each.argmin(1), 3)
    torch.testing.assert_close(loss.total, (each * keep).mean() * 3)  # as its trainer writes it


def test_losses_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"targets \(2, 4, 4\)"):
        promptable_loss(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3), torch.zeros(2, 4, 4))


def test_stability_is_a_ratio_of_areas():
    logits = torch.full((2, 4, 4), -5.0)
    logits[0, :2] = 5.0
    logits[1, :2], logits[1, 2] = 5.0, 0.5  # a row that a slightly other threshold moves
    torch.testing.assert_close(stability_score(logits), torch.tensor([1, 8 / 12]))
    torch.testing.assert_close(stability_score(logits, 0.25), torch.tensor([1.0, 1.0]))


class Scene(nn.Module):
    """A model that knows three squares: the candidates are the one clicked, all, and nothing."""

    frame = 32
    places = ((0, 0, 10, 10), (20, 2, 30, 12), (4, 18, 14, 30))

    def embed(self, images):
        return images

    def decode(self, embedding, points, labels):
        masks = squares(*self.places, side=self.frame)
        inside = masks[:, points[:, 0, 1].long(), points[:, 0, 0].long()].T  # (clicks, squares)
        clicked = (inside[:, :, None, None] * masks).sum(1)
        everything = masks.sum(0).expand_as(clicked)
        logits = torch.stack([clicked, everything, torch.zeros_like(clicked)], dim=1) * 8 - 4
        logits[:, 1] = logits[:, 1].clamp(-0.5, 0.5)  # not stable
        hit = inside.any(1).float()
        return Masks(logits, torch.stack([0.5 + 0.49 * hit, hit, hit], dim=1))


@pytest.mark.parametrize("at_once", [7, 64])
def test_everything_is_found_once(at_once):
    found = segment_everything(Scene(), torch.zeros(1, 3, 32, 32), grid=8, at_once=at_once)
    boxes = {tuple(box) for box in found.boxes.int().tolist()}
    assert boxes == {
        (left, top, right - 1, bottom - 1) for left, top, right, bottom in Scene.places
    }
    assert len(found.masks) == 3 and found.masks.dtype == torch.bool
    for mask, (x, y) in zip(found.masks, found.points.long().tolist(), strict=True):
        assert mask[y, x]
    assert found.scores.min() > 0.88 and found.stability.min() >= 0.95


def test_everything_of_nothing_is_nothing():
    found = segment_everything(Scene(), torch.zeros(1, 3, 32, 32), grid=8, min_score=1.5)
    assert len(found.masks) == 0 and found.boxes.shape == (0, 4)
    with pytest.raises(ValueError, match="one at a time"):
        segment_everything(Scene(), torch.zeros(2, 3, 32, 32))


def test_an_image_in_the_frame_and_back():
    assert size_in_frame((480, 640), 1024) == (768, 1024)
    assert size_in_frame((30, 50), 64) == (38, 64)  # 38.4 and a half, cut off
    points = points_in_frame(torch.tensor([[25.0, 15.0]]), (30, 50), 64)
    torch.testing.assert_close(points, torch.tensor([[32.0, 19.0]]))
    logits = masks_in_image(torch.ones(1, 2, 16, 16), (30, 50), 64)
    torch.testing.assert_close(logits, torch.ones(1, 2, 30, 50))


def test_every_name_of_the_room_is_there():
    for name in models.sam.__all__:
        assert getattr(models.sam, name) is not None


def test_the_small_pair():
    """Sizes for the lab; the student has few of the teacher's multiplications."""
    counts = {}
    for name in ("small_vit", "small_efficientvit"):
        model = sam(name).eval()
        images = torch.randn(2, 3, 64, 64)
        masks = model(images, torch.rand(6, 1, 2) * 64, torch.ones(6, 1, dtype=torch.long))
        assert masks.logits.shape == (6, 3, 64, 64) and masks.scores.shape == (6, 3)
        assert model.frame == 64 and 200_000 < count_parameters(model) < 400_000
        counts[name] = count_macs(model.image_encoder, images[:1])
    assert counts["small_vit"] > 8 * counts["small_efficientvit"]


def test_every_weight_learns():
    """Points, a box and a mask together reach every parameter, but for the vectors of what is
    not given."""
    model = sam("small_efficientvit")
    n = 2
    arguments = {
        "points": torch.rand(n, 3, 2) * 64,
        "labels": torch.tensor([[1, 0, -1]] * n),
        "boxes": torch.tensor([[3.0, 4.0, 30.0, 40.0]] * n),
        "masks": torch.randn(n, 1, 64, 64),
    }
    total = torch.zeros(())
    for multimask in (True, False):
        masks = model(torch.randn(n, 3, 64, 64), multimask=multimask, **arguments)
        total = total + masks.logits.square().mean() + masks.scores.square().mean()
    total.backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {"prompt_encoder.no_mask_embed.weight"}


def test_prompts_that_differ_get_codes_that_differ():
    """A pixel's four meanings, and corners given as points: the same as a box."""
    encoder = PromptEncoder(32, 64, 16)
    points = torch.tensor([[[5.0, 6.0], [20.0, 30.0]]])
    codes = [encoder.embed_points(points[:, :1], torch.tensor([[k]])) for k in range(-1, 4)]
    for i, a in enumerate(codes):
        assert all(not torch.allclose(a, b) for b in codes[:i])
    box = encoder(boxes=points.view(1, 4)).sparse
    torch.testing.assert_close(encoder.embed_points(points, torch.tensor([[2, 3]])), box)
    assert encoder(points, torch.tensor([[1, 0]])).sparse.shape == (1, 3, 32)  # one appended


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"points": torch.zeros(2, 1, 2)}, "belong together"),
        ({"points": torch.zeros(2, 1, 2), "labels": torch.zeros(2, 2)}, r"\(n, k, 2\)"),
        ({"boxes": torch.zeros(2, 2, 2)}, "boxes has shape"),
        ({"masks": torch.zeros(2, 1, 16, 16)}, r"expected \(n, 1, 64, 64\)"),
        ({"boxes": torch.zeros(2, 4), "masks": torch.zeros(3, 1, 64, 64)}, "equally many"),
    ],
)
def test_bad_prompts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PromptEncoder(32, 64, 16)(**arguments)


def test_bad_sizes_are_refused():
    model = sam("small_vit")
    with pytest.raises(ValueError, match="no size of SAM"):
        sam("vit_g")
    with pytest.raises(ValueError, match="64 x 64"):
        model.embed(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="shared out evenly"):
        model.decode(torch.zeros(2, 64, 16, 16), boxes=torch.zeros(3, 4))
