"""Answers to lab 02 written by hand: right ones in other words keep all points and are green, wrong
ones lose the points of what they break, are red before they are handed in, and read a true reason.
"""

import pytest

from tests.labs.marker import Marker, ids

PUT_BACK = """    last = torch.zeros_like(x).index_copy(0, groups[-1], result[-1])
    return last.index_copy(0, groups[:-1].flatten(), result[:-1].flatten(0, 1))
"""
KEY = "which * window**2 + row % window * window + column % window"
COUNTED = "sparse_groups(coords, window, size).numel()"
MASKED = "torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)"
SHIFTS = """    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
"""
ROLL = SHIFTS + "    x = torch.roll"
LABELS = SHIFTS + "    came"
BOTH = """    down = across = window // 2
    """
BIAS = "bias.permute(2, 0, 1)"
REPEATED = "mask.repeat(count // len(mask), 1, 1)[:, None]"
OUTPUT = "return self.proj(x.transpose(1, 2).flatten(2))"
SHARES = "shares / (shares.sum(dim=-1, keepdim=True) + eps)"
TOTAL = "q @ summary / (total + eps)"
PEAK = "    return peak\n"
FIT = "return float(exponent), math.exp(intercept)"
MEDIAN = "sorted(found)[repeats // 2]"
CUT = "x.permute(0, 1, 3, 2, 4, 5)  # (batch, window rows, window columns, M, M, channels)"
JOIN = "x.permute(0, 1, 3, 2, 4, 5)  # (batch, window rows, M, window columns, M, channels)"

# exercise, what is unusual, and how it is made from the solution: old text, new text
RIGHT = [
    (
        "shifted_windows",
        "the lesser of the masks of both axes",
        "attend(window_partition(x, window), shift_mask(height, width, window).to(x))",
        "attend(window_partition(x, window), torch.minimum(\n"
        "        shift_mask(height, window, window)[:, None],\n"
        "        shift_mask(window, width, window)[None]).flatten(0, 1))",
    ),
    (
        "windows",
        "an argument more, with a default",
        "def window_partition(x, window):",
        "def window_partition(x, window, check=False):",
    ),
    (
        "attention_cost",
        "numbers as tensors",
        "tokens = heard = height * width",
        "tokens = heard = torch.tensor(height * width)",
    ),
    ("attention_cost", "ceil by numpy", "math.ceil(height", "np.ceil(height"),
    ("attention_cost", "one more entry", "return {", 'return {\n        "tokens": tokens,'),
    (
        "windows",
        "written into zeros",
        "    return x.reshape(-1, window * window, channels)\n",
        "    out = torch.zeros(x.numel() // (window**2 * channels), window**2, channels)\n"
        "    out[:] = x.reshape(-1, window * window, channels)\n    return out\n",
    ),
    ("windows", "in double precision", "x.shape\n", "x.shape\n    x = x.double()\n"),
    (
        "windows",
        "put back by view, as windows lie in memory",
        "windows.reshape(-1, height",
        "windows.view(-1, height",
    ),
    (
        "window_attention",
        "an index of int32",
        "return down * (2 * window - 1) + across",
        "return (down * (2 * window - 1) + across).int()",
    ),
    (
        "window_attention",
        "the index made in forward",
        "[self.index]",
        "[relative_position_index(int(tokens**0.5))]",
    ),
    (
        "window_attention",
        "softmax in double precision",
        "scores.softmax(dim=-1) @ v",
        "scores.double().softmax(dim=-1).float() @ v",
    ),
    (
        "window_attention",
        "queries scaled first",
        "q @ k.transpose(-2, -1) / math.sqrt(dim // self.heads)",
        "(q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)",
    ),
    (
        "window_attention",
        "a further buffer",
        "self.heads = heads",
        "self.heads = heads\n        self.register_buffer('side', torch.tensor(window))",
    ),
    ("shifted_windows", "a mask of float64", MASKED, MASKED + ".double()"),
    (
        "shifted_windows",
        "no mask where nothing is shifted",
        "shift_mask(height, width, window).to(x)",
        "shift_mask(height, width, window) if down or across else None",
    ),
    (
        "shifted_windows",
        "by keyword",
        "shift_mask(height, width, window).to(x)",
        "mask=shift_mask(window=window, width=width, height=height)",
    ),
    (
        "sparse_windows",
        "written into zeros, last group first",
        PUT_BACK,
        "    out = torch.zeros(x.shape)\n    for i in reversed(range(len(groups))):\n"
        "        out[groups[i]] = result[i]\n    return out\n",
    ),
    (
        "sparse_windows",
        "a map of its own, as large as the whole",
        f"order = torch.argsort({KEY})",
        "place = torch.full((coords[:, 0].max() + 1, coords[:, 1].max() + 1), -1)\n"
        "    place[row, column] = torch.arange(len(row))\n"
        "    places = sorted(coords.tolist(), "
        "key=lambda p: (p[0] // window, p[1] // window, *p))\n"
        "    order = torch.stack([place[r, c] for r, c in places])",
    ),
    (
        "sparse_windows",
        "a list, and counts as a tensor",
        "return windows * window**2, sparse_groups(coords, window, size).numel()",
        "return torch.tensor([windows * window**2, sparse_groups(coords, window, size).numel()])",
    ),
    (
        "sparse_windows",
        "counted without the groups",
        COUNTED,
        "(len(coords) if len(coords) < size else -(-len(coords) // size) * size)",
    ),
    (
        "linear_attention",
        "in double precision",
        "return shares @ v",
        "return shares.double() @ v.double()",
    ),
    (
        "linear_attention",
        "an outer product for every key",
        "k.transpose(-2, -1) @ v",
        "(k[..., :, None] * v[..., None, :]).sum(dim=-3)",
    ),
    (
        "linear_attention",
        "written into zeros",
        f"return {TOTAL}",
        f"out = torch.zeros(q.shape)\n    out[:] = {TOTAL}\n    return out",
    ),
    ("measurement", "numbers of numpy", MEDIAN, "np.median(found)"),
    ("measurement", "a peak of numpy", PEAK, "    return np.int64(peak)\n"),
    ("measurement", "a list for the pair", FIT, "return [exponent, np.exp(intercept)]"),
    (
        "measurement",
        "tensors of no axes",
        FIT,
        "return torch.tensor([exponent, np.exp(intercept)])",
    ),
]

# exercise, what is wrong, how it is made from the solution, points kept, and what is (not) said
WRONG = [
    (
        "attention_cost",
        "padding down only",
        "math.ceil(width / window)",
        "(width // window)",
        0,
        "",
    ),
    (
        "attention_cost",
        "one table",
        "4 * heads * tokens",
        "4 * tokens",
        2,
        "every head has its own",
    ),
    (
        "attention_cost",
        "MACs",
        "2 * (projections + attention)",
        "projections + attention",
        1,
        "two floating-point operations",
    ),
    (
        "attention_cost",
        "one number as a tensor of one",
        '"projections": projections',
        '"projections": torch.tensor([projections])',
        1,
        "not a number",
    ),
    (
        "windows",
        "square maps only",
        "width // window, window, channels)\n    x = x.permute",
        "height // window, window, channels)\n    x = x.permute",
        1.5,
        "Right: ",
    ),
    (
        "windows",
        "a map put back across",
        "(-1, height // window, width // window",
        "(-1, width // window, height // window",
        1.5,
        "Right: ",
    ),
    ("windows", "windows by columns", CUT, "x.permute(0, 3, 1, 2, 4, 5)", 1.5, "column by column"),
    (
        "windows",
        "by numpy",
        JOIN,
        f"torch.tensor({JOIN.split('  #')[0]}.detach().numpy())",
        1.5,
        "gradient",
    ),
    (
        "window_attention",
        "index transposed",
        "down * (2 * window - 1) + across",
        "(down * (2 * window - 1) + across).T",
        3,
        "key minus query",
    ),
    (
        "window_attention",
        "an index of floats",
        "down * (2 * window - 1) + across",
        "(down * (2 * window - 1) + across).float()",
        3,
        "float32 instead of int64",
    ),
    (
        "window_attention",
        "the mask without its images",
        REPEATED,
        "mask.repeat_interleave(count // len(mask), 0)[:, None]",
        2,
        "window by window",
    ),
    (
        "window_attention",
        "scaled by the number of heads",
        "math.sqrt(dim // self.heads)",
        "math.sqrt(self.heads)",
        2,
        "Wrong: ",
    ),
    ("window_attention", "bias not used", f" + {BIAS}", "", 2, "without the bias"),
    (
        "window_attention",
        "softmax that underflows",
        "scores.softmax(dim=-1)",
        "(scores.exp() / scores.exp().sum(-1, keepdim=True))",
        2,
        "a mask of −100 in whole lines",
    ),
    (
        "window_attention",
        "heads not joined",
        OUTPUT,
        "return self.proj(x.reshape(count, tokens, dim))",
        2,
        "Right: ",
    ),
    (
        "window_attention",
        "a table that starts with noise",
        "torch.zeros((2 * window",
        "0.02 * torch.randn((2 * window",
        2,
        "table at the start",
    ),
    (
        "shifted_windows",
        "mask shifted along both axes",
        LABELS,
        BOTH + "came",
        2,
        "An axis that one window covers is not shifted",
    ),
    (
        "shifted_windows",
        "rolled along both axes",
        ROLL,
        BOTH + "x = torch.roll",
        2,
        "whatever its size",
    ),
    (
        "shifted_windows",
        "rolled along both or none",
        ROLL,
        "    down = across = window // 2 if max(height, width) > window else 0\n    x = torch.roll",
        2,
        "Wrong: 2 maps, a column of windows; a row of windows.",
    ),
    ("shifted_windows", "minus infinity", "-100.0", "-math.inf", 2, "-∞"),
    ("shifted_windows", "a mask of whole numbers", "0.0, -100.0", "0, -100", 2, "int64"),
    (
        "shifted_windows",
        "height and width exchanged",
        "shift_mask(height, width, window).to",
        "shift_mask(width, height, window).to",
        2,
        "on a map that needs shift_mask(6, 12, 3)",
    ),
    (
        "shifted_windows",
        "not rolled back",
        "return torch.roll(x, (down, across), dims=(1, 2))",
        "return x",
        2,
        "not rolled back",
    ),
    (
        "sparse_windows",
        "digits",
        KEY,
        "row // window * 1000 + column // window * 100 + row % window * 10 + column % window",
        2,
        "decimal number",
    ),
    (
        "sparse_windows",
        "digits of a hundred",
        KEY,
        "row // window * 10**6 + column // window * 10**4 + row % window * 100 + column % window",
        2,
        "hundreds of windows a side",
    ),
    (
        "sparse_windows",
        "a key in float32",
        KEY,
        f"({KEY}).float()",
        2,
        "Wrong: one token near, the others far out",
    ),
    ("sparse_windows", "one group always full", "size = min(size, tokens)", "pass", 2, "tokens"),
    (
        "sparse_windows",
        "slots of full groups only",
        COUNTED,
        "-(-len(coords) // size) * size",
        3,
        "Fewer tokens than `size`",
    ),
    (
        "sparse_windows",
        "the last word",
        PUT_BACK,
        "    out = torch.zeros_like(x)\n"
        "    for group, rows in zip(groups, result):\n"
        "        out = out.index_copy(0, group, rows)\n    return out\n",
        3,
        "that of the group before",
    ),
    (
        "sparse_windows",
        "0 taken for nothing",
        PUT_BACK,
        "    out = torch.zeros_like(x)\n"
        "    for group, rows in zip(groups, result):\n"
        "        rows = torch.where(out[group] == 0, rows, out[group])\n"
        "        out = out.index_copy(0, group, rows)\n    return out\n",
        3,
        "0 is a result too",
    ),
    (
        "sparse_windows",
        "added up",
        PUT_BACK,
        "    return torch.zeros_like(x).index_add(0, groups.flatten(), result.flatten(0, 1))\n",
        3,
        "Right: ",
    ),
    (
        "linear_attention",
        "no eps",
        " + eps)\n    return shares",
        ")\n    return shares",
        2,
        "without eps",
    ),
    ("linear_attention", "eps fixed", "(total + eps)", "(total + 1e-6)", 2, "`eps` is not used"),
    ("linear_attention", "eps as the least", "(total + eps)", "total.clamp(min=eps)", 2, "Right: "),
    (
        "linear_attention",
        "the table after all",
        TOTAL,
        "q @ k.transpose(-2, -1) @ v / (total + eps)",
        2,
        "makes the table",
    ),
    (
        "linear_attention",
        "keys detached",
        "summary = k.tr",
        "summary = k.detach().tr",
        2,
        "gradient",
    ),
    ("measurement", "mean", MEDIAN, "sum(found) / repeats", 2, "mean of the timed calls"),
    (
        "measurement",
        "first call timed with the warm-up",
        "range(warmup)",
        "range(1, warmup)",
        2,
        "number of calls",
    ),
    (
        "measurement",
        "all that was taken",
        PEAK,
        "    return sum(e for e in events if e > 0)\n",
        2,
        "ever taken",
    ),
    ("measurement", "no peak of nothing", PEAK, "    return peak or None\n", 2, "nothing taken"),
    ("measurement", "smallest left out", "x >= smallest", "x > smallest", 2, "left out"),
    ("measurement", "a factor not raised", "math.exp(intercept)", "intercept", 2, "logarithm"),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("02")


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_its_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)))


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept", "said"), WRONG, ids=ids(WRONG))
def test_a_wrong_answer_loses_its_part_and_is_red(marker, exercise, kind, old, new, kept, said):
    (verdict,) = marker.refuses(exercise, marker.answered(exercise, (old, new)), kept)
    assert said in verdict.message


@pytest.mark.parametrize(
    "exercise", ["windows", "sparse_windows", "linear_attention", "window_attention"]
)
def test_an_input_changed_in_place_is_said_before_its_values(marker, exercise):
    old, new = {
        "windows": ("x.shape\n", "x.shape\n    x.data.neg_()\n"),
        "sparse_windows": ("row, column =", "coords //= 1\n    coords += 1\n    row, column ="),
        "linear_attention": ("shares = F.relu(q)", "q.data.clamp_(min=0)\n    shares = F.relu(q)"),
        "window_attention": ("qkv = self", "x.data.mul_(2)\n        qkv = self"),
    }[exercise]
    names = marker.answered(exercise, (old, new))
    assert "changed in place" in marker.verdict(exercise, names).message


def test_two_mistakes_are_told_each_by_its_own(marker):
    """A mistake in one part is not blamed on the other, nor on a known pair of mistakes."""
    names = marker.answered("windows", (CUT, "x.permute(0, 3, 1, 2, 4, 5)"), (JOIN, "x"))
    message = marker.verdict("windows", names).message
    assert "numbered column by column" in message and "reshape without a permute" in message
    changes = [(f" + {BIAS}", ""), ("+ across", "+ 2 * across")]
    names = marker.answered("window_attention", *changes)
    message = marker.verdict("window_attention", names).message
    assert "without the bias" in message and "key minus query" not in message


def test_an_earlier_mistake_is_not_paid_for_again(marker):
    for exercise in marker.lab.exercises:
        marker.accepts(exercise, marker.alone(exercise))
