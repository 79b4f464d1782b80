"""Lab 03, what a student is told is what is judged: right answers written in many ways keep all
points and see a green check; wrong ones lose the points of what they break, and see a red one."""

import pytest

from tests.labs.marker import Marker, ids

RELU = "relu_linear_attention"
LAYERS = "self.local_module = Residual(MBConv(dim, dim, expand=expand, fewer_norm=True))"
HALVES = "return self.local_module(self.context_module(x))"
SCALES = "qkv = torch.cat([qkv] + [mix(qkv) for mix in self.aggreg], dim=1)"
SUMMED = "x = x + F.interpolate(reduce(smaller), size=size, "
BICUBIC = SUMMED + 'mode="bicubic", align_corners=False)'
STEM = "ConvNormAct(3, widths[0], 3, 2, act=True)"
ZEROS = "nn.init.zeros_(self.tail.weight)\n        nn.init.zeros_(self.tail.bias)"
ENLARGED = 'F.interpolate(images, scale_factor=self.scale, mode="bicubic", align_corners=False)'

# exercise, what it is, old text of the solution and new; "" stands for all of it
RIGHT = [
    (
        RELU,
        "a buffer of zeros",
        "",
        """def relu_linear_attention(q, k, v, eps=1e-15):
    out = torch.zeros(q.shape[0], q.shape[1], q.shape[2], v.shape[3])
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            a, c = torch.relu(q[b, h]), torch.relu(k[b, h])
            out[b, h] = a @ (c.T @ v[b, h]) / ((a @ c.sum(0))[:, None] + eps)
    return out
""",
    ),
    (
        RELU,
        "sums by broadcasting",
        "",
        """def relu_linear_attention(q, k, v, eps=1e-15):
    q, k = torch.clamp(q, min=0), torch.clamp(k, min=0)
    summary = (k[..., :, None] * v[..., None, :]).sum(2)
    below = (q * k.sum(2, keepdim=True)).sum(-1, keepdim=True) + eps
    return torch.einsum("bhnd,bhde->bhne", q, summary) / below
""",
    ),
    (
        RELU,
        "token after token",
        "",
        """def relu_linear_attention(q, k, v, eps=1e-15):
    q, k = q.relu(), k.relu()
    above, below = 0, 0
    for j in range(k.shape[2]):
        above = above + k[:, :, j, :, None] * v[:, :, j, None, :]
        below = below + k[:, :, j, :, None]
    return q @ above / (q @ below + eps)
""",
    ),
    (
        RELU,
        "in float64",
        "q, k = q.relu(), k.relu()",
        "q, k, v = q.relu().double(), k.relu().double(), v.double()",
    ),
    (
        RELU,
        "shares of keys first",
        "return out[..., :-1] / (out",
        "return out[..., :-1] * 1 / (out",
    ),
    (RELU, "channels before tokens", "k.transpose(-2, -1) @ v", "(v.mT @ k).mT"),
    (
        "aggregation",
        "same padding",
        "padding=kernel_size // 2,",
        "padding='same', padding_mode='zeros',",
    ),
    (
        "aggregation",
        "block after block",
        "return self.grouped(self.depthwise(qkv))",
        """x = self.depthwise(qkv)
        size = self.grouped.weight.shape[1]
        out = torch.zeros_like(x)
        for i in range(0, x.shape[1], size):
            out[:, i:i + size] = F.conv2d(x[:, i:i + size], self.grouped.weight[i:i + size])
        return out""",
    ),
    (
        "multi_scale_attention",
        "scale after scale",
        SCALES,
        "maps = [qkv]\n        for mix in self.aggreg:\n            maps += [mix(qkv)]\n"
        "        qkv = torch.cat(maps, dim=1)",
    ),
    (
        "multi_scale_attention",
        "one attention a scale",
        "out = relu_linear_attention(q, k, v).transpose(-2, -1)",
        "n = q.shape[1] // (1 + len(self.aggreg))\n"
        "        out = torch.cat([relu_linear_attention(*p) for p in "
        "zip(q.split(n, 1), k.split(n, 1), v.split(n, 1))], 1).transpose(-2, -1)",
    ),
    (
        "multi_scale_attention",
        "queries scaled, which cancels",
        "relu_linear_attention(q, k, v)",
        "relu_linear_attention(q * self.head_dim**-0.5, k, v)",
    ),
    (
        "multi_scale_attention",
        "a buffer of zeros",
        "return self.proj(out)",
        "return self.proj(torch.zeros(out.shape).add(out))",
    ),
    ("mbconv", "rounded by hand", "round(in_channels * expand)", "int(in_channels * expand + 0.5)"),
    (
        "mbconv",
        "a sequence",
        "return self.point_conv(self.depth_conv(self.inverted_conv(x)))",
        "for layer in (self.inverted_conv, self.depth_conv, self.point_conv):\n"
        "            x = layer(x)\n        return x",
    ),
    (
        "efficientvit_module",
        "a plain list of the halves",
        LAYERS,
        LAYERS + "\n        self.steps = [self.context_module, self.local_module]",
    ),
    (
        "efficientvit_module",
        "the shortcuts written out",
        HALVES,
        "x = x + self.context_module.main(x)\n        return x + self.local_module.main(x)",
    ),
    ("efficientvit_module", "positions", "expand=expand, fewer_norm=True", "1, expand, True"),
    ("backbone", "a tuple", "return outputs", "return tuple(outputs)"),
    (
        "backbone",
        "the stem layer by layer",
        "x = self.stem(images)",
        "x = self.stem[0](images)\n        for layer in self.stem[1:]:\n            x = layer(x)",
    ),
    (
        "backbone",
        "a plain list of all steps",
        "x = self.stem(images)\n        outputs = []\n        for stage in self.stages:",
        "steps = [self.stem] + list(self.stages)\n        x = steps[0](images)\n"
        "        outputs = []\n        for stage in steps[1:]:",
    ),
    ("segmentation_head", "align_corners not given", ", align_corners=False", ""),
    (
        "segmentation_head",
        "all maps enlarged",
        "x = self.inputs[0](maps[0])\n"
        "        for reduce, smaller in zip(self.inputs[1:], maps[1:]):",
        "x = 0\n        for reduce, smaller in zip(self.inputs, maps):",
    ),
    (
        "segmentation_head",
        "written into zeros",
        "return self.output(self.middle(x))",
        "x = self.middle(x)\n        out = torch.zeros(len(x), len(self.output.weight), *size)\n"
        "        out[:] = self.output(x)\n        return out",
    ),
    (
        "super_resolution",
        "size for scale_factor",
        "scale_factor=self.scale",
        "size=(self.scale * images.shape[2], self.scale * images.shape[3])",
    ),
    (
        "super_resolution",
        "a bias of zeros at the start too",
        ZEROS,
        ZEROS + "\n        nn.init.zeros_(self.shallow.bias)",
    ),
    (
        "super_resolution",
        "zeros by data",
        ZEROS,
        "self.tail.weight.data = torch.zeros_like(self.tail.weight)\n"
        "        self.tail.bias.data.fill_(0)",
    ),
    (
        "super_resolution",
        "written into zeros",
        "return base + correction",
        "out = torch.zeros(base.shape)\n        out[:] = base + correction\n        return out",
    ),
]

# the same, and the points that are kept
WRONG = [
    (RELU, "queries without ReLU", "q.relu(), k.relu()", "q, k.relu()", 2),
    (RELU, "keys without ReLU", "q.relu(), k.relu()", "q.relu(), k", 2),
    (RELU, "values with ReLU", "F.pad(v,", "F.pad(v.relu(),", 2),
    (RELU, "absolute values", "q.relu(), k.relu()", "q.abs(), k.abs()", 2),
    (RELU, "another feature map", "q.relu(), k.relu()", "F.elu(q) + 1, F.elu(k) + 1", 2),
    (RELU, "eps written into the code", "+ eps", "+ 1e-15", 2),
    (RELU, "a large eps", "+ eps", "+ max(eps, 1e-6)", 2),
    (RELU, "no eps", " + eps", "", 2),
    (RELU, "eps in the numerator too", "out[..., :-1] /", "(out[..., :-1] + eps) /", 2),
    (RELU, "denominator of the first query", "out[..., -1:] +", "out[..., :1, -1:] +", 2),
    (RELU, "denominator detached", "(out[..., -1:] + eps)", "(out[..., -1:] + eps).detach()", 2),
    (RELU, "in place", "q, k = q.relu(), k.relu()", "q, k = q.relu_(), k.relu_()", 2),
    (RELU, "the mean of the keys", "/ (out", "/ k.shape[-2] / (out", 2),
    (
        RELU,
        "heads mixed",
        "summary = k.transpose(-2, -1) @ v",
        "summary = (k.transpose(-2, -1) @ v).mean(1, keepdim=True)",
        2,
    ),
    (
        RELU,
        "quadratic, row by row",
        "out = q @ summary",
        "out = torch.stack([(q[:, :, i:i + 1] * k).sum(-1, keepdim=True).mul(v).sum(2) "
        "for i in range(q.shape[2])], 2)",
        2,
    ),
    (
        RELU,
        "quadratic, all at once",
        "",
        """def relu_linear_attention(q, k, v, eps=1e-15):
    shares = q.relu() @ k.relu().mT
    return shares @ v / (shares.sum(-1, keepdim=True) + eps)
""",
        2,
    ),
    (RELU, "the values", "q, k = q.relu(), k.relu()", "return v", 0),
    (
        "aggregation",
        "kernel of 5",
        "3 * dim, kernel_size, padding=kernel_size // 2",
        "3 * dim, 5, padding=2",
        0,
    ),
    ("aggregation", "padding of 2", "padding=kernel_size // 2", "padding=2", 0),
    ("aggregation", "a bias", "groups=3 * heads, bias=False", "groups=3 * heads", 0),
    ("aggregation", "groups of a head", "groups=3 * heads", "groups=heads", 0),
    ("aggregation", "no mixing", "groups=3 * heads", "groups=3 * dim", 0),
    (
        "aggregation",
        "another border",
        "padding=kernel_size // 2,",
        "padding=kernel_size // 2, padding_mode='circular',",
        0,
    ),
    ("aggregation", "a shortcut", "return self.grouped", "return qkv + self.grouped", 0),
    (
        "aggregation",
        "an activation",
        "self.grouped(self.depthwise(qkv))",
        "self.grouped(self.depthwise(qkv)).relu()",
        0,
    ),
    (
        "aggregation",
        "dropout",
        "return self.grouped(self.depthwise(qkv))",
        "return F.dropout(self.grouped(self.depthwise(qkv)), 0.1, self.training)",
        0,
    ),
    (
        "multi_scale_attention",
        "scales one after the other",
        SCALES,
        "maps = [qkv]\n        for mix in self.aggreg:\n            maps.append(mix(maps[-1]))\n"
        "        qkv = torch.cat(maps, dim=1)",
        0,
    ),
    (
        "multi_scale_attention",
        "only the first scale",
        "mix in self.aggreg]",
        "mix in self.aggreg[:1]]",
        0,
    ),
    (
        "multi_scale_attention",
        "scales first",
        "[qkv] + [mix(qkv) for mix in self.aggreg]",
        "[mix(qkv) for mix in self.aggreg] + [qkv]",
        0,
    ),
    ("multi_scale_attention", "always 5", "dim // head_dim, s)", "dim // head_dim)", 0),
    (
        "multi_scale_attention",
        "heads and channels exchanged",
        "dim // head_dim, s)",
        "head_dim, s)",
        0,
    ),
    ("multi_scale_attention", "one head", "(-1, 3 * self.head_dim)", "(1, -1)", 0),
    (
        "multi_scale_attention",
        "square maps",
        "unflatten(2, (height, width))",
        "unflatten(2, (int((height * width) ** 0.5), -1))",
        0,
    ),
    (
        "multi_scale_attention",
        "width before height",
        "unflatten(2, (height, width))",
        "unflatten(2, (width, height)).mT",
        0,
    ),
    (
        "multi_scale_attention",
        "queries and keys exchanged",
        "q, k, v = heads",
        "k, q, v = heads",
        0,
    ),
    (
        "multi_scale_attention",
        "a shortcut",
        "return self.proj(out)",
        "return x + self.proj(out)",
        0,
    ),
    (
        "multi_scale_attention",
        "no norm at the end",
        "dim * (1 + len(scales)), dim)",
        "dim * (1 + len(scales)), dim, norm=False)",
        0,
    ),
    (
        "multi_scale_attention",
        "an activation at the end",
        "dim * (1 + len(scales)), dim)",
        "dim * (1 + len(scales)), dim, act=True)",
        0,
    ),
    (
        "multi_scale_attention",
        "an activation on qkv",
        "3 * dim, norm=False)",
        "3 * dim, norm=False, act=True)",
        0,
    ),
    ("mbconv", "cut off", "round(in_channels * expand)", "int(in_channels * expand)", 1.5),
    ("mbconv", "rounded up", "round(in_channels * expand)", "math.ceil(in_channels * expand)", 1.5),
    ("mbconv", "expand ignored", "round(in_channels * expand)", "in_channels * 4", 0),
    ("mbconv", "fewer_norm ignored", "bias=fewer_norm, norm=not fewer_norm, ", "", 1.5),
    ("mbconv", "no norm and no bias", "bias=fewer_norm, norm", "norm", 1.5),
    (
        "mbconv",
        "always fewer norms",
        "bias=fewer_norm, norm=not fewer_norm",
        "bias=True, norm=False",
        1.5,
    ),
    (
        "mbconv",
        "fewer norms at the end too",
        "ConvNormAct(middle, out_channels)",
        "ConvNormAct(middle, out_channels, bias=fewer_norm, norm=not fewer_norm)",
        1.5,
    ),
    ("mbconv", "stride ignored", "3, stride, groups", "3, 1, groups", 0),
    ("mbconv", "a full convolution", "3, stride, groups=middle", "3, stride", 0),
    ("mbconv", "no activation", "act=True", "act=False", 0),
    (
        "mbconv",
        "a shortcut where it fits",
        "return self.point_conv(self.depth_conv(self.inverted_conv(x)))",
        "y = self.point_conv(self.depth_conv(self.inverted_conv(x)))\n"
        "        return x + y if x.shape == y.shape else y",
        0,
    ),
    ("efficientvit_module", "head_dim not handed on", "(dim, head_dim)", "(dim)", 1),
    ("efficientvit_module", "expand not handed on", "expand=expand, ", "", 1),
    ("efficientvit_module", "all norms", ", fewer_norm=True", "", 1),
    (
        "efficientvit_module",
        "detail first",
        HALVES,
        "return self.context_module(self.local_module(x))",
        1,
    ),
    (
        "efficientvit_module",
        "side by side",
        HALVES,
        "return self.context_module(x) + self.local_module(x)",
        1,
    ),
    (
        "efficientvit_module",
        "a third shortcut",
        HALVES,
        "return x + self.local_module(self.context_module(x))",
        1,
    ),
    ("backbone", "depths[0] ignored", "range(depths[0])", "range(1)", 3),
    ("backbone", "one block less in the stem", "range(depths[0])", "range(depths[0] - 1)", 3),
    ("backbone", "stem without activation", STEM, "ConvNormAct(3, widths[0], 3, 2)", 3),
    ("backbone", "stem without shortcuts", "Residual(DSConv(widths[0]))", "DSConv(widths[0])", 3),
    ("backbone", "stem with a bias", STEM, STEM.replace("act", "bias=True, act"), 3),
    ("backbone", "stem without stride", STEM, STEM.replace("3, 2,", "3, 1,"), 3),
    ("backbone", "head_dim not handed on", "(widths[i], head_dim)", "(widths[i])", 1),
    ("backbone", "fewer_norm not handed on", ", fewer_norm=attention", "", 1),
    ("backbone", "attention from stage 3 on", "i >= len(widths) - 2", "i >= 3", 1),
    (
        "backbone",
        "attention in the last stage only",
        "i >= len(widths) - 2",
        "i >= len(widths) - 1",
        1,
    ),
    ("backbone", "one block too many", "range(depths[i] - 1)", "range(depths[i])", 1),
    (
        "backbone",
        "no shortcut",
        "Residual(MBConv(widths[i], widths[i]))",
        "MBConv(widths[i], widths[i])",
        1,
    ),
    ("backbone", "the last output only", "return outputs", "return outputs[-1]", 1),
    ("backbone", "coarsest first", "return outputs", "return outputs[::-1]", 1),
    ("backbone", "the stem's output too", "outputs = []", "outputs = [x]", 1),
    ("segmentation_head", "bilinear", 'mode="bicubic"', 'mode="bilinear"', 1.5),
    ("segmentation_head", "aligned corners", "align_corners=False", "align_corners=True", 1.5),
    ("segmentation_head", "antialiased", "align_corners=False", "antialias=True", 1.5),
    (
        "segmentation_head",
        "by a factor",
        "size=size",
        "scale_factor=size[1] // smaller.shape[3]",
        1.5,
    ),
    ("segmentation_head", "square maps", "size=size", "size=(size[0], size[0])", 1.5),
    (
        "segmentation_head",
        "the mean",
        "return self.output",
        "x = x / len(maps)\n        return self.output",
        1.5,
    ),
    (
        "segmentation_head",
        "enlarged before the norm",
        BICUBIC,
        'x = x + reduce(F.interpolate(smaller, size=size, mode="bicubic"))',
        1.5,
    ),
    ("segmentation_head", "two maps", "maps[1:])", "maps[1:2])", 1.5),
    (
        "segmentation_head",
        "no norm",
        "ConvNormAct(c, width)",
        "ConvNormAct(c, width, norm=False)",
        1.5,
    ),
    ("segmentation_head", "depth ignored", "range(depth)", "range(1)", 1.5),
    (
        "segmentation_head",
        "blocks without shortcut",
        "Residual(MBConv(width, width))",
        "MBConv(width, width)",
        1.5,
    ),
    (
        "segmentation_head",
        "fewer norms",
        "MBConv(width, width)",
        "MBConv(width, width, fewer_norm=True)",
        1.5,
    ),
    ("segmentation_head", "no bias", "num_classes, 1)", "num_classes, 1, bias=False)", 1.5),
    (
        "segmentation_head",
        "probabilities",
        "return self.output(self.middle(x))",
        "return self.output(self.middle(x)).softmax(1)",
        0,
    ),
    ("super_resolution", "tail as it comes", ZEROS, "pass", 2),
    ("super_resolution", "only the weight is zero", "nn.init.zeros_(self.tail.bias)", "pass", 2),
    (
        "super_resolution",
        "all is zero",
        ZEROS,
        ZEROS + "\n        nn.init.zeros_(self.shallow.weight)",
        2,
    ),
    (
        "super_resolution",
        "a tail that does not learn",
        ZEROS,
        ZEROS + "\n        self.tail.requires_grad_(False)",
        0,
    ),
    ("super_resolution", "bilinear", 'mode="bicubic"', 'mode="bilinear"', 1),
    (
        "super_resolution",
        "always twice",
        "F.pixel_shuffle(self.tail(x), self.scale)",
        "F.pixel_shuffle(self.tail(x), 2)",
        1,
    ),
    ("super_resolution", "head_dim not handed on", "(dim, head_dim)", "(dim)", 1),
    ("super_resolution", "one module", "range(depth)", "range(min(depth, 1))", 1),
    ("super_resolution", "no shortcut", "x = x + self.body(x)", "x = self.body(x)", 1),
    (
        "super_resolution",
        "cut to colours",
        "return base + correction",
        "return (base + correction).clamp(0, 1)",
        1,
    ),
    (
        "super_resolution",
        "the correction alone",
        "return base + correction",
        "return correction",
        1,
    ),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("03")


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_its_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)))


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept"), WRONG, ids=ids(WRONG))
def test_a_wrong_answer_loses_what_it_breaks_and_is_red(marker, exercise, kind, old, new, kept):
    marker.refuses(exercise, marker.answered(exercise, (old, new)), kept)


def test_a_check_needs_no_earlier_exercise(marker):
    """Stand-ins take their place: nothing that an earlier answer lacks shows in a later check."""
    for exercise in marker.lab.exercises:
        assert marker.check(exercise, marker.alone(exercise)) == "", exercise


def test_a_slip_is_told_by_what_is_right_and_wrong(marker):
    """Where no known mistake explains the answers, the cases do."""
    chained = next(w for w in WRONG if w[1] == "scales one after the other")
    message = marker.verdict(chained[0], marker.answered(chained[0], chained[2:4])).message
    assert "Right: " in message and "no second scale" in message.split("Wrong: ")[0]
    assert "Wrong: three scales; four scales" in message


def test_new_tensors_of_an_answer_may_be_counted_without_numbers(marker):
    """The experiments count on PyTorch's meta device, whatever an answer makes anew."""
    cells = [
        c.source for c in marker.lab.cells if "count_macs(" in c.source and '"meta"' in c.source
    ]
    assert cells
    for source in cells:
        before = source.split("count_macs(")[0].splitlines()
        nearest = [line for line in before if line.strip().startswith("with ")][-1]
        assert 'torch.device("meta")' in nearest
