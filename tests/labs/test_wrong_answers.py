"""Wrong answers to lab 01 written by hand, none of them a trap or a mutant: the judge refuses each,
and leaves the points of the part that is right; the visible check is red. Below, the odd ones that
both rightly accept."""

import pytest

from tests.labs.marker import SEEDS, Marker, ids

COPY = 'conv.load_state_dict({"weight": kernels, "bias": linear.bias})'
SOFTMAX = "scores.softmax(dim=-1)"
EXP = "(scores - scores.amax(-1, keepdim=True)).exp()"

# exercise, what is wrong, and how it is made from the solution: old text, new text, points kept
WRONG = [
    (
        "patchify",
        "square images only",
        "rows, columns = height // patch_size, width // patch_size\n    x = images",
        "rows = columns = height // patch_size\n    x = images",
        1,
    ),
    ("patchify", "three channels only", "images.shape\n", "images.shape\n    channels = 3\n", 1),
    ("patchify", "patch size fixed", "images.shape\n", "images.shape\n    patch_size = 2\n", 1),
    ("patchify", "no gradient", "images.reshape", "images.detach().reshape", 1),
    ("patchify", "by numpy", "images.reshape", "torch.tensor(images.detach().numpy()).reshape", 1),
    ("patchify", "half precision", "images.reshape", "images.half().reshape", 1),
    (
        "patchify",
        "square images only, back",
        "(1, (rows, columns))",
        "(1, (int(patches.shape[1] ** 0.5),) * 2)",
        2,
    ),
    (
        "patch_embedding",
        "weight detached",
        "self.proj(images)",
        "F.conv2d(images, self.proj.weight.detach(), self.proj.bias, stride=self.proj.stride)",
        1,
    ),
    (
        "patch_embedding",
        "bias detached",
        "self.proj(images)",
        "F.conv2d(images, self.proj.weight, self.proj.bias.detach(), stride=self.proj.stride)",
        1,
    ),
    (
        "patch_embedding",
        "layer made in forward",
        "self.proj(images)",
        "nn.Conv2d(images.shape[1], "
        "self.proj.out_channels, self.proj.kernel_size, self.proj.stride)(images)",
        1,
    ),
    (
        "patch_embedding",
        "dropout in training",
        "self.proj(images)",
        "F.dropout(self.proj(images), 0.1, self.training)",
        1,
    ),
    (
        "patch_embedding",
        "changes its weights",
        "x = self.proj(images)",
        "self.proj.weight.data *= 0.999\n        x = self.proj(images)",
        1,
    ),
    (
        "patch_embedding",
        "shares the weights",
        COPY,
        "conv.weight = nn.Parameter(kernels); conv.bias = linear.bias",
        1,
    ),
    (
        "patch_embedding",
        "shares the numbers",
        COPY,
        "conv.weight.data = kernels.data; conv.bias.data = linear.bias.data",
        1,
    ),
    (
        "patch_embedding",
        "a layer that does not learn",
        COPY,
        COPY + "; conv.requires_grad_(False)",
        1,
    ),
    ("patch_embedding", "bias not copied", COPY, "conv.weight.data.copy_(kernels)", 1),
    ("patch_embedding", "a function for a layer", "return conv\n", "return lambda x: conv(x)\n", 1),
    (
        "patch_embedding",
        "another kind of layer",
        "return conv\n",
        "return nn.Sequential(conv)\n",
        1,
    ),
    ("position_embedding", "another base", "10000.0", "1000.0", 2),
    ("position_embedding", "antialias", "align_corners=False", "antialias=True", 2),
    ("position_embedding", "align_corners", "align_corners=False", "align_corners=True", 2),
    (
        "position_embedding",
        "square grids only",
        "unflatten(2, old_grid)",
        "unflatten(2, (int(grid_rows.shape[1] ** 0.5),) * 2)",
        2,
    ),
    ("position_embedding", "width before height", "size=new_grid", "size=new_grid[::-1]", 2),
    (
        "position_embedding",
        "six channels only",
        "grid_rows.transpose",
        "grid_rows.reshape(1, -1, 6).transpose",
        2,
    ),
    ("position_embedding", "class token detached", "[class_row, x]", "[class_row.detach(), x]", 2),
    (
        "position_embedding",
        "half precision",
        "grid_rows.transpose",
        "grid_rows.half().float().transpose",
        2,
    ),
    ("attention", "d is the number of heads", "q.shape[-1]", "q.shape[1]", 0),
    ("attention", "overflows", SOFTMAX, "scores.exp() / scores.exp().sum(-1, keepdim=True)", 0),
    (
        "attention",
        "one maximum for all",
        SOFTMAX,
        "(scores - scores.max()).exp() / (scores - scores.max()).exp().sum(-1, keepdim=True)",
        0,
    ),
    ("attention", "scores cut off", SOFTMAX, "scores.clamp(-500, 500).softmax(dim=-1)", 0),
    ("attention", "shares below one", SOFTMAX, f"{EXP} / (1e-3 + {EXP}.sum(-1, keepdim=True))", 0),
    ("attention", "softmax in half precision", SOFTMAX, "scores.half().softmax(dim=-1).float()", 0),
    ("attention", "dropout", "return weights @ v", "return F.dropout(weights, 0.1) @ v", 0),
    (
        "attention",
        "causal",
        "weights =",
        "if q.shape[2] == k.shape[2]: scores = scores + "
        "torch.full_like(scores[0, 0], -torch.inf).triu(1)\n    weights =",
        0,
    ),
    ("attention", "weights detached", "weights @ v, weights", "weights @ v, weights.detach()", 0),
    ("attention", "output only", "weights @ v, weights", "weights @ v", 0),
    (
        "attention",
        "a dict",
        "weights @ v, weights",
        "{'output': weights @ v, 'weights': weights}",
        0,
    ),
    ("multi_head_attention", "one head", "self.heads = heads", "self.heads = 1", 0),
    ("multi_head_attention", "values detached", "(q, k, v)  #", "(q, k, v.detach())  #", 0),
    (
        "multi_head_attention",
        "projection detached",
        "self.proj(output)",
        "F.linear(output, self.proj.weight.detach(), self.proj.bias)",
        0,
    ),
    (
        "multi_head_attention",
        "dropout when evaluating",
        "self.proj(output)",
        "F.dropout(self.proj(output), 0.1, not self.training)",
        0,
    ),
    ("multi_head_attention", "a shortcut", "return self.proj", "return x + self.proj", 0),
    (
        "multi_head_attention",
        "layout (heads, 3)",
        "reshape(batch, tokens, 3, self.heads, dim // self.heads)",
        "reshape(batch, tokens, self.heads, 3, -1).transpose(2, 3)",
        0,
    ),
    (
        "multi_head_attention",
        "a spare layer",
        "self.heads = heads",
        "self.heads = heads\n        self.spare = nn.Linear(dim, dim)",
        0,
    ),
    ("encoder_block", "hidden units rounded", "int(dim * mlp_ratio)", "round(dim * mlp_ratio)", 0),
    ("encoder_block", "mlp_ratio ignored", "int(dim * mlp_ratio)", "4 * dim", 0),
    ("encoder_block", "one norm for both", "self.norm2(x)", "self.norm1(x)", 0),
    (
        "encoder_block",
        "norm without its weights",
        "self.norm1(x)",
        "F.layer_norm(x, x.shape[-1:], eps=1e-6)",
        0,
    ),
    (
        "encoder_block",
        "branches side by side",
        "x = x + self.attn(self.norm1(x))\n        return x",
        "return x + self.attn(self.norm1(x))",
        0,
    ),
    ("encoder_block", "shortcut detached", "x = x + self", "x = x.detach() + self", 0),
    (
        "encoder_block",
        "stochastic depth",
        "return x +",
        "if self.training and torch.rand(1) < 0.5:\n            return x\n        return x +",
        0,
    ),
    (
        "vision_transformer",
        "class token drawn",
        "torch.zeros(1, 1, dim)",
        "0.02 * torch.randn(1, 1, dim)",
        3,
    ),
    (
        "vision_transformer",
        "uniform start",
        "0.02 * torch.randn(1, tokens + 1, dim)",
        "0.02 * 12**0.5 * (torch.rand(1, tokens + 1, dim) - 0.5)",
        3,
    ),
    ("vision_transformer", "ten times the spread", "0.02 *", "0.2 *", 3),
    ("vision_transformer", "mean of all tokens", "self.norm(x)[:, 0]", "self.norm(x).mean(1)", 1),
    ("vision_transformer", "last token", "self.norm(x)[:, 0]", "self.norm(x)[:, -1]", 1),
    ("vision_transformer", "mlp_ratio ignored", "heads, mlp_ratio) for", "heads) for", 1),
    (
        "vision_transformer",
        "three channels only",
        "(patch_size, in_channels,",
        "(patch_size, 3,",
        1,
    ),
    ("vision_transformer", "probabilities", "[:, 0])  #", "[:, 0]).softmax(-1)  #", 1),
    ("vision_transformer", "norm after every block", "x = block(x)", "x = self.norm(block(x))", 1),
    (
        "vision_transformer",
        "positions detached",
        "+ self.pos_embed",
        "+ self.pos_embed.detach()",
        1,
    ),
    (
        "vision_transformer",
        "embedding not trained",
        "x = self.patch_embed(images)",
        "with torch.no_grad():\n            x = self.patch_embed(images)",
        1,
    ),
    ("vision_transformer", "one image loses its axis", "[:, 0])  #", "[:, 0]).squeeze(0)  #", 1),
    (
        "vision_transformer",
        "always in training mode",
        "x = self.patch_embed(images)",
        "self.train()\n        x = self.patch_embed(images)",
        1,
    ),
    ("parameter_count", "a tensor", "2 * dim + head\n", "2 * dim + head + torch.tensor(0)\n", 1),
    ("parameter_count", "a float", "image_size // patch_size", "image_size / patch_size", 1),
    ("parameter_count", "three channels only", "in_channels * patch_size", "3 * patch_size", 2),
    ("parameter_count", "mlp_ratio ignored", "int(dim * mlp_ratio)", "4 * dim", 2),
    (
        "parameter_count",
        "hidden units rounded",
        "int(dim * mlp_ratio)",
        "round(dim * mlp_ratio)",
        2,
    ),
    ("parameter_count", "224 pixels only", "(image_size // patch_size)", "(224 // patch_size)", 0),
    (
        "parameter_count",
        "1000 classes only",
        "dim * num_classes + num_classes",
        "dim * 1000 + 1000",
        0,
    ),
]

# What passes, and why it should.
RIGHT = [
    # an answer computed in float32 is right, and so is one in float64
    ("patchify", "float32 whatever comes", "images.reshape", "images.float().reshape"),
    ("patch_embedding", "float32 whatever comes", "self.proj(images)", "self.proj(images.float())"),
    (
        "position_embedding",
        "float64 table",
        "torch.arange(quarter) / quarter",
        "torch.arange(quarter).double() / quarter",
    ),
    ("attention", "softmax in float32", SOFTMAX, "scores.float().softmax(dim=-1)"),
    ("encoder_block", "rounded on the way", "x = x + self", "x = x.double().float() + self"),
    # an epsilon below what is near enough
    ("attention", "a tiny epsilon", SOFTMAX, f"{EXP} / (1e-9 + {EXP}.sum(-1, keepdim=True))"),
    # whole numbers of any kind of integer
    ("parameter_count", "numpy's integer", "2 * dim + head\n", "2 * dim + head + np.int64(0)\n"),
    # contiguous images are all that the exercise speaks of, and others raise an error at once
    ("patchify", "view instead of reshape", "images.reshape", "images.view"),
    # the same numbers: scale_factor is the ratio of the sizes
    (
        "position_embedding",
        "scale_factor",
        "size=new_grid",
        "scale_factor=(new_grid[0] / old_grid[0], new_grid[1] / old_grid[1])",
    ),
    (
        "position_embedding",
        "nothing to do",
        "class_row, grid_rows",
        "if old_grid == new_grid:\n        return pos_embed\n    class_row, grid_rows",
    ),
    # unpacked as a pair is
    ("attention", "a list", "return weights @ v, weights", "return [weights @ v, weights]"),
    # kept to be looked at: no result depends on it
    ("multi_head_attention", "weights kept", "output, _ =", "output, self.seen ="),
    (
        "multi_head_attention",
        "a buffer",
        "self.heads = heads",
        "self.heads = heads\n        self.register_buffer('scale', torch.ones(1))",
    ),
    # wasteful, and cost is no part of this exercise's statement
    ("encoder_block", "attention twice", "x = x + self", "self.attn(x)\n        x = x + self"),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("01")


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept"), WRONG, ids=ids(WRONG))
def test_a_wrong_answer_loses_the_points_of_what_it_breaks(marker, exercise, kind, old, new, kept):
    marker.refuses(exercise, marker.answered(exercise, (old, new)), kept, SEEDS)


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_an_odd_answer_that_is_right_passes(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)), SEEDS)
