"""Lab 04, judged as its text says: right answers in other styles keep all points and are green;
mistakes lose the points of their part, are red, and are called by no other mistake's name."""

import pytest
import torch

from tests.labs.marker import Marker, ids

CAT = "return torch.cat(sparse, dim=1), dense"
WAVES = "return torch.cat([(2 * math.pi * turns).sin(), (2 * math.pi * turns).cos()], dim=-1)"
KNOWN = "known = places + kinds[labels.clamp(min=0)]"
LOOK = "tokens = tokens + self.cross_attn_token_to_image(tokens + token_positions, k, image)"
LOGITS = "logits = (weights @ pixels.flatten(2)).unflatten(2, pixels.shape[2:])"
SHARED = "embeddings.repeat_interleave(n // len(embeddings), dim=0)"
PICK = "return logits[rows, best], scores[rows, best]"
SIZE = 'F.interpolate(logits[:, None], size, mode="bilinear", align_corners=False)[:, 0] > 0'
FOCAL = "return (weight * (1 - right) ** 2 * entropy).mean(dim=(-2, -1))"
TOTAL = "return least.mean() + ((scores[rows, chosen] - iou) ** 2).mean(), chosen"
IOU = "iou = (mask & target).sum(dim=(1, 2)) / (mask | target).sum(dim=(1, 2))"
LEFT = "    return masks[kept], scores[kept]"
TRUSTED = "if scores[i] < min_score or stability[i] < min_stability:"
ACCEPTED = "return torch.tensor(accepted, dtype=torch.long)"
RESIZED = "total = total + x"
GOAL = "    with torch.no_grad():\n        goal = teacher(images)"

# exercise, in which style, and how it is made from the solution: old text, new text
RIGHT = [
    (
        "prompt_encoder",
        "waves written into zeros",
        WAVES,
        "half = turns.shape[-1]\n    out = torch.zeros(*turns.shape[:-1], 2 * half)\n"
        "    out[..., :half] = (turns * 6.283185307).sin()\n"
        "    out[..., half:] = (turns * 6.283185307).cos()\n    return out",
    ),
    ("prompt_encoder", "in double precision", CAT, "return torch.cat(sparse, 1).double(), dense"),
    ("prompt_encoder", "a list", CAT, "return [torch.cat(sparse, dim=1), dense]"),
    (
        "prompt_encoder",
        "a vector by each embedding",
        KNOWN,
        "known = places + torch.stack([torch.stack([\n"
        "            self.point_embeddings[max(i, 0)].weight[0] for i in row])\n"
        "            for row in labels.tolist()])",
    ),
    (
        "prompt_encoder",
        "an expanded map",
        ".repeat(n, 1, self.side, self.side)",
        ".expand(n, -1, self.side, self.side)",
    ),
    (
        "two_way_block",
        "by keyword",
        LOOK,
        "tokens = tokens + self.cross_attn_token_to_image(\n"
        "            q=tokens + token_positions, k=k, v=image)",
    ),
    ("two_way_block", "a list", "return tokens, image", "return [tokens, image]"),
    (
        "mask_decoder",
        "an einsum",
        LOGITS,
        'logits = torch.einsum("nmc,nchw->nmhw", weights, pixels)',
    ),
    (
        "mask_decoder",
        "an index of images",
        SHARED,
        "embeddings[torch.arange(n) // (n // len(embeddings))]",
    ),
    (
        "mask_decoder",
        "written into zeros",
        LOGITS,
        "logits = torch.zeros(n, 4, *pixels.shape[2:])\n        for i in range(n):\n"
        "            for m in range(4):\n"
        "                logits[i, m] = (weights[i, m][:, None, None] * pixels[i]).sum(0)",
    ),
    (
        "choose_mask",
        "prompt by prompt",
        PICK,
        "return torch.stack([m[b] for m, b in zip(logits, best)"
        "]), torch.stack([s[b] for s, b in zip(scores, best)])",
    ),
    (
        "choose_mask",
        "torchvision's resize",
        SIZE,
        "torchvision.transforms.functional.resize(logits, list(size), antialias=False) > 0",
    ),
    (
        "promptable_loss",
        "added up in zeros",
        FOCAL,
        "pixels = weight * (1 - right) ** 2 * entropy\n    out = torch.zeros(logits.shape[:-2])\n"
        "    for row in range(logits.shape[-2]):\n        out = out + pixels[..., row, :].sum(-1)\n"
        "    return out / (logits.shape[-2] * logits.shape[-1])",
    ),
    (
        "promptable_loss",
        "torchvision's",
        FOCAL,
        "return torchvision.ops.sigmoid_focal_loss(logits, targets).mean((-2, -1))",
    ),
    (
        "promptable_loss",
        "mse_loss",
        TOTAL,
        "return least.mean() + F.mse_loss(scores[rows, chosen], iou), chosen",
    ),
    (
        "promptable_loss",
        "floats for masks",
        IOU,
        "a, b = mask.float(), target.float()\n"
        "    iou = (a * b).sum((1, 2)) / torch.maximum(a, b).sum((1, 2))",
    ),
    (
        "promptable_loss",
        "short integers",
        TOTAL,
        TOTAL.replace(", chosen\n", ", chosen.int()\n").replace("(), chosen", "(), chosen.int()"),
    ),
    (
        "segment_everything",
        "numbers for booleans",
        "masks, scores = logits[good] > 0, scores[good]",
        "good = good.nonzero()[:, 0]\n    masks, scores = logits[good].gt(0), scores[good]",
    ),
    ("segment_everything", "a list", LEFT, "    return [masks[kept], scores[kept]]"),
    (
        "segment_everything",
        "a clamp below",
        "/ (logits > -offset).sum(dim=(-2, -1))",
        "/ (logits > -offset).sum(dim=(-2, -1)).clamp(min=1)",
    ),
    ("accept_masks", "a tensor of int32", ACCEPTED, "return torch.tensor(accepted).int()"),
    (
        "accept_masks",
        "turned round",
        TRUSTED,
        "if not (scores[i] >= min_score and stability[i] >= min_stability):",
    ),
    (
        "efficient_encoder",
        "a list of maps",
        RESIZED,
        "total = x if reduce is self.inputs[0] else torch.add(total, x)",
    ),
    ("efficient_encoder", "detached", GOAL, "    goal = teacher(images).detach()"),
    (
        "efficient_encoder",
        "gradients set to zero first",
        "    loss = F.mse_loss(student(images), goal)\n    optimizer.zero_grad()",
        "    optimizer.zero_grad(set_to_none=False)\n"
        "    loss = ((student(images) - goal) ** 2).mean()",
    ),
]

# exercise, what is wrong, old text, new text, points kept, what the message says (of a known
# mistake), or None where it names none
WRONG = [
    ("prompt_encoder", "a whole pixel added", "points + 0.5", "points + 1", 2, None),
    ("prompt_encoder", "y before x", "2 * points - 1", "2 * points.flip(-1) - 1", 4, None),
    (
        "prompt_encoder",
        "labels 0 and 1 exchanged",
        "kinds[labels.clamp(min=0)]",
        "kinds[[1, 0, 2, 3]][labels.clamp(min=0)]",
        3,
        None,
    ),
    ("prompt_encoder", "corners exchanged", "[[2, 3]]", "[[3, 2]]", 4, None),
    ("prompt_encoder", "both corners", "[[2, 3]]", "[[2, 2]]", 4, "Both corners"),
    (
        "prompt_encoder",
        "the appended point first",
        "points = torch.cat([points, points.new_zeros(n, 1, 2)], dim=1)\n"
        "                labels = torch.cat([labels, labels.new_full((n, 1), -1)], dim=1)",
        "points = torch.cat([points.new_zeros(n, 1, 2), points], dim=1)\n"
        "                labels = torch.cat([labels.new_full((n, 1), -1), labels], dim=1)",
        3,
        None,
    ),
    (
        "two_way_block",
        "no last norm",
        "self.norm4(image + self.cross_attn_image_to_token(k, q, tokens))",
        "image + self.cross_attn_image_to_token(k, q, tokens)",
        0,
        None,
    ),
    ("two_way_block", "the first as the others", "if self.first:", "if False:", 2, None),
    ("two_way_block", "the others as the first", "if self.first:", "if True:", 2, None),
    (
        "mask_decoder",
        "turns",
        SHARED,
        "embeddings.repeat(n // len(embeddings), 1, 1, 1)",
        0,
        "repeat each image next to itself",
    ),
    (
        "mask_decoder",
        "the places transposed",
        "places.transpose(1, 2).reshape(image.shape)",
        "places.transpose(1, 2).reshape(image.shape).mT",
        1,
        None,
    ),
    ("choose_mask", "counted from mask 1", ".argmax(dim=1) + 1 if", ".argmax(dim=1) if", 1, None),
    ("choose_mask", "at least 0", "[:, 0] > 0", "[:, 0] >= 0", 1, None),
    ("promptable_loss", "a sum", FOCAL, FOCAL.replace("mean", "sum"), 3, None),
    (
        "promptable_loss",
        "all scores learn",
        TOTAL,
        "return least.mean() + ((scores - iou[:, None]) ** 2).mean(), chosen",
        2,
        None,
    ),
    ("promptable_loss", "no scores", TOTAL, "return least.mean(), chosen", 2, None),
    (
        "promptable_loss",
        "dice of the batch",
        "p.sum(dim=(-2, -1)) + targets.sum(dim=(-2, -1))",
        "p.sum() + targets.sum()",
        3,
        None,
    ),
    (
        "segment_everything",
        "at least the score",
        "scores > min_score",
        "scores < min_score",
        1,
        None,
    ),
    (
        "segment_everything",
        "the first comes first",
        LEFT,
        "    kept = kept.sort().values\n    return masks[kept], scores[kept]",
        1,
        None,
    ),
    (
        "accept_masks",
        "boxes",
        "standing.append(masks[i])",
        "standing.append(masks[i] | "
        "(masks[i].any(0, keepdim=True) & masks[i].any(1, keepdim=True)))",
        1,
        None,
    ),
    ("accept_masks", "greater than", "scores[i] < min_score", "scores[i] <= min_score", 1, None),
    (
        "accept_masks",
        "the order of the image",
        ACCEPTED,
        "return torch.tensor(sorted(accepted), dtype=torch.long)",
        0,
        "in the order in which they were proposed",
    ),
    ("efficient_encoder", "a mode changed", GOAL, "    teacher.train()\n" + GOAL, 1, None),
    ("efficient_encoder", "a tensor", "loss.item()", "loss", 1, None),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("04")


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_all_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)), ["fair"])


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept", "said"), WRONG, ids=ids(WRONG))
def test_a_mistake_costs_its_part_and_is_red(marker, exercise, kind, old, new, kept, said):
    names = marker.answered(exercise, (old, new))
    (verdict,) = marker.refuses(exercise, names, kept, ["fair"])
    if said is None:
        assert not verdict.hint, verdict.message
    else:
        assert said in verdict.hint, verdict.message


@pytest.mark.parametrize("exercise", ["mask_decoder", "promptable_loss", "segment_everything"])
def test_no_exercise_needs_one_before_it(marker, exercise):
    names = marker.alone(exercise)
    assert marker.verdict(exercise, names).status == "passed"
    assert marker.check(exercise, names) == ""


def test_a_check_gives_the_same_whatever_random_numbers_were_drawn_before(marker):
    names = marker.names
    for seed in range(3):
        torch.manual_seed(seed)
        for exercise in marker.lab.exercises:
            assert marker.check(exercise, names) == ""
