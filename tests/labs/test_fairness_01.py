"""Lab 01, what a student is told is what is judged: right answers keep their points and are green,
slips lose theirs and are red, and what is said of a mistake is true of it."""

import pytest
import torch

from labsupport.grading.judging.lab_code import namespace_of
from tests.labs.marker import Marker, ids

RETURN = "return x.flatten(3).flatten(1, 2)"
BACK = "return x.flatten(4).flatten(2, 3)"
TOKENS = "return x.flatten(2).transpose(1, 2)"
LOGITS = "return self.head(self.norm(x)[:, 0])"


def buffered(old):
    """The same answer, written into a tensor of zeros."""
    value = old.removeprefix("return ")
    return (
        f"answer = {value}\n        out = torch.zeros(answer.shape)\n        out[:] = answer\n"
        "        return out"
    )


# exercise, how it is right, old text, new text
RIGHT = [
    ("patchify", "a buffer of zeros", RETURN, buffered(RETURN).replace("        ", "    ")),
    ("patchify", "a buffer of zeros, back", BACK, buffered(BACK).replace("        ", "    ")),
    ("patchify", "float64", RETURN, RETURN + ".double()"),
    ("patch_embedding", "a buffer of zeros", TOKENS, buffered(TOKENS)),
    (
        "patch_embedding",
        "in place on its own",
        "x = self.proj(images)",
        "x = self.proj(images).mul_(1)",
    ),
    (
        "patch_embedding",
        "new parameters",
        'conv.load_state_dict({"weight": kernels, "bias": linear.bias})',
        "conv.weight = nn.Parameter(kernels.detach().clone())\n"
        "    conv.bias = nn.Parameter(linear.bias.detach().clone())",
    ),
    (
        "position_embedding",
        "a table of numpy",
        "torch.cat(parts, dim=1)",
        "torch.from_numpy(np.concatenate([part.double().numpy() for part in parts], axis=1))",
    ),
    (
        "position_embedding",
        "a buffer of zeros",
        "return torch.cat([class_row, x], dim=1)",
        "out = torch.zeros(1, 1 + x.shape[1], x.shape[2])\n    out[:, :1] = class_row\n"
        "    out[:, 1:] = x\n    return out",
    ),
    (
        "attention",
        "scaled before",
        "q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])",
        "(q / q.shape[-1] ** 0.5) @ k.transpose(-2, -1)",
    ),
    (
        "attention",
        "the root of the root",
        "q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])",
        "(q * q.shape[-1] ** -0.25) @ (k * q.shape[-1] ** -0.25).transpose(-2, -1)",
    ),
    (
        "attention",
        "float64",
        "return weights @ v, weights",
        "return weights.double() @ v.double(), weights.double()",
    ),
    (
        "multi_head_attention",
        "an attention of its own",
        "output, _ = attention(q, k, v)",
        "output = (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1) @ v",
    ),
    (
        "multi_head_attention",
        "a new tensor for the heads",
        "output = output.transpose(1, 2).flatten(2)",
        "joined = torch.zeros(batch, tokens, dim)\n"
        "        for head, part in enumerate(output.split(1, 1)):\n"
        "            width = dim // self.heads\n"
        "            joined[..., head * width : (head + 1) * width] = part[:, 0]\n"
        "        output = joined",
    ),
    (
        "encoder_block",
        "keywords",
        "MultiHeadAttention(dim, heads)",
        "MultiHeadAttention(heads=heads, dim=dim)",
    ),
    ("vision_transformer", "a buffer of zeros", LOGITS, buffered(LOGITS)),
    (
        "vision_transformer",
        "joined in an empty tensor",
        "x = torch.cat([cls_token, x], dim=1) + self.pos_embed",
        "joined = torch.empty(len(x), 1 + x.shape[1], x.shape[2], device=x.device)\n"
        "        joined[:, :1], joined[:, 1:] = cls_token, x\n"
        "        x = joined + self.pos_embed",
    ),
    (
        "vision_transformer",
        "norm of the class token only",
        "self.norm(x)[:, 0]",
        "self.norm(x[:, 0])",
    ),
    (
        "vision_transformer",
        "weights made anew",
        "self.norm = nn.LayerNorm(dim, eps=1e-6)",
        "self.norm = nn.LayerNorm(dim, eps=1e-6)\n"
        "        nn.init.xavier_uniform_(self.patch_embed.proj.weight)",
    ),
    (
        "parameter_count",
        "an integer of numpy",
        "return patch_embed",
        "return np.int64(0) + patch_embed",
    ),
]

# exercise, the slip, old text, new text, points kept, what is said, what is not
WRONG = [
    (
        "vision_transformer",
        "default eps of the last norm",
        "nn.LayerNorm(dim, eps=1e-6)",
        "nn.LayerNorm(dim)",
        1,
        "default eps",
        "",
    ),
    (
        "vision_transformer",
        "in_channels not handed on",
        "(patch_size, in_channels, dim)",
        "(patch_size, 3, dim)",
        1,
        "one channel",
        "",
    ),
    (
        "vision_transformer",
        "mlp_ratio not handed on",
        "heads, mlp_ratio)",
        "heads)",
        1,
        "another mlp_ratio",
        "",
    ),
    (
        "vision_transformer",
        "heads not handed on",
        "(dim, heads, mlp_ratio)",
        "(dim, 1, mlp_ratio)",
        1,
        "differ",
        "",
    ),
    (
        "encoder_block",
        "default eps",
        "nn.LayerNorm(dim, eps=1e-6)",
        "nn.LayerNorm(dim)",
        0,
        "default eps",
        "",
    ),
    ("encoder_block", "in place", "x = x + self.attn", "x += self.attn", 0, "in", "shortcut"),
    (
        "encoder_block",
        "in place, behind the graph",
        "x = x + self.attn",
        "x.data += self.attn",
        0,
        "",
        "shortcut",
    ),
    (
        "attention",
        "the root of the heads",
        "math.sqrt(q.shape[-1])",
        "math.sqrt(q.shape[1])",
        0,
        "differ",
        "1/√d",
    ),
    (
        "attention",
        "the root of the queries",
        "math.sqrt(q.shape[-1])",
        "math.sqrt(q.shape[2])",
        0,
        "differ",
        "1/√d",
    ),
    ("attention", "no scaling", " / math.sqrt(q.shape[-1])", "", 0, "1/√d", ""),
    (
        "patch_embedding",
        "stride forgotten",
        "dim, kernel_size=patch_size, stride=patch_size)",
        "dim, kernel_size=patch_size)",
        1,
        "shape",
        "tokens come before",
    ),
    (
        "patch_embedding",
        "bias not copied",
        'conv.load_state_dict({"weight": kernels, "bias": linear.bias})',
        'conv.load_state_dict({"weight": kernels}, strict=False)',
        1,
        "the bias was not copied",
        "random",
    ),
    (
        "multi_head_attention",
        "three before heads",
        "tokens, 3, self.heads, dim // self.heads)\n        q, k, v = qkv.permute(2, 0, 3, 1, 4)",
        "tokens, self.heads, 3, dim // self.heads)\n        q, k, v = qkv.permute(3, 0, 2, 1, 4)",
        0,
        "(3, heads, head_dim)",
        "",
    ),
    (
        "position_embedding",
        "width twice",
        "torch.arange(height), torch.arange(width)",
        "torch.arange(width), torch.arange(width)",
        2,
        "shape",
        "",
    ),
    (
        "position_embedding",
        "height for width in the grid",
        "unflatten(2, old_grid)",
        "unflatten(2, old_grid[::-1])",
        2,
        "differ",
        "",
    ),
    (
        "parameter_count",
        "a tensor",
        "return patch_embed",
        "return torch.tensor(0) + patch_embed",
        1,
        "an int",
        "is a float",
    ),
    (
        "parameter_count",
        "a division",
        "image_size // patch_size",
        "image_size / patch_size",
        1,
        "gives a float",
        "",
    ),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("01")


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_its_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)), ["a student"])


@pytest.mark.parametrize(
    ("exercise", "kind", "old", "new", "kept", "said", "unsaid"), WRONG, ids=ids(WRONG)
)
def test_a_slip_is_red_and_told_truly(marker, exercise, kind, old, new, kept, said, unsaid):
    names = marker.answered(exercise, (old, new))
    (verdict,) = marker.refuses(exercise, names, kept, ["a student"])
    assert said in verdict.message
    for message in (verdict.message, marker.check(exercise, names)):
        assert not unsaid or unsaid not in message


def test_a_check_is_green_whatever_was_answered_before(marker):
    """Right answers after a known mistake in another exercise."""
    for trap in marker.lab.of("trap"):
        names = namespace_of(marker.lab, {trap.name: trap.source})
        for exercise in marker.lab.exercises:
            if exercise != trap.name:
                assert marker.check(exercise, names) == "", trap.label


def test_a_check_does_not_depend_on_the_numbers_drawn_before(marker):
    names = marker.names
    for seed in range(3):
        torch.manual_seed(seed)
        for exercise in marker.lab.exercises:
            assert marker.check(exercise, names) == ""
