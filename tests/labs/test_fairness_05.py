"""Lab 05, both sides: right answers in other styles keep all points and are green; wrong ones that
students write lose the points of their part, and no other, and are red."""

import pytest

from labsupport.grading.judging.lab_code import namespace_of
from tests.labs.marker import Marker, ids

ABS = "return x.abs().mean(dim=-1)"
ROLL = "torch.roll(importance, (-shift, -shift), dims=(1, 2))"
CUT = "window_partition(rolled[..., None], window)"
NORM = "return windows.square().sum(dim=(1, 2)).sqrt().view(len(importance), -1)"
K = "int(scores.shape[1] * (1 - ratio) + 1e-9)"
TOP = "return scores.topk(k, dim=1).indices"
GATHER = "return windows[image, index]"
SCATTER = "out = windows.clone()\n    out[image, index] = values\n    return out"
MASK = "mask = shift_mask(rows, columns, window, shift).to(x)[index].flatten(0, 1)"
TAKE = "some = gather_windows(windows, index).flatten(0, 1)"
ATTEND = "some = some + block.attn(block.norm1(some), mask)"
MLP = "some = some + block.mlp(block.norm2(some))"
PUT = "windows = scatter_windows(windows, index, some.view(batch, -1, window**2, channels))"
BACK = "return torch.roll(out, (shift, shift), dims=(1, 2))"
FOUND = "window_scores(scores, block.window, block.shift)"
ONCE = "if scores is None:\n            scores = importance(x)"
DENSE = "if ratio == 0:\n            x = block(x)\n            continue\n        "
LAYOUT = "return tuple(tuple(sorted(rng.choice(choices) for _ in range(n))) for n in pairs)"
SECONDS = """return rest + sum(table[stage, ratio] for stage, ratios in enumerate(layout)
                      for ratio in ratios)"""
START = "if layout not in tried and seconds(layout) <= most:"
CHILD = "if child not in tried and seconds(child) <= most:"
RANKED = "best = sorted(tried, key=tried.get, reverse=True)[:parents]"
ROUND = "for _ in range(rounds):"
RETURN = "return max(tried, key=tried.get), tried"

# exercise, what it is, old text of the solution, new text
RIGHT = [
    ("window_scores", "in double", ABS, "return x.double().abs().mean(dim=-1)"),
    (
        "window_scores",
        "written into torch.zeros",
        NORM,
        "scores = torch.zeros(len(importance), len(windows) // len(importance))\n"
        "    for i, one in enumerate(windows):\n"
        "        n = scores.shape[1]\n"
        "        scores[i // n, i % n] = one.norm()\n"
        "    return scores",
    ),
    ("keep_windows", "int32", TOP, "return scores.topk(k, dim=1).indices.to(torch.int32)"),
    (
        "keep_windows",
        "written into torch.zeros",
        TOP,
        "out = torch.zeros(len(scores), k, dtype=torch.long)\n"
        "    for i, row in enumerate(scores):\n"
        "        out[i] = row.argsort(descending=True)[:k]\n"
        "    return out",
    ),
    ("keep_windows", "rounded first", K, "math.floor(round(scores.shape[1] * (1 - ratio), 6))"),
    (
        "gather_scatter",
        "no gradient where every window is replaced",
        SCATTER,
        "if index.shape[1] == windows.shape[1]:\n"
        "        return values[image, index.argsort(dim=1)]\n    " + SCATTER,
    ),
    (
        "gather_scatter",
        "written into torch.zeros",
        SCATTER,
        "out = torch.zeros(windows.shape)\n"
        "    for i in range(len(windows)):\n"
        "        out[i] = windows[i]\n"
        "        for place, value in zip(index[i].tolist(), values[i]):\n"
        "            out[i, place] = value\n"
        "    return out",
    ),
    (
        "gather_scatter",
        "a mask of the list",
        SCATTER,
        "kept = torch.zeros(windows.shape[:2], dtype=torch.bool)\n"
        "    kept[image, index] = True\n"
        "    out = torch.zeros_like(windows)\n"
        "    out[image, index] = values\n"
        "    return torch.where(kept[:, :, None, None], out, windows)",
    ),
    (
        "sparse_block",
        "by one-hot products",
        TAKE,
        "chosen = F.one_hot(index, windows.shape[1]).to(x)\n"
        "    some = torch.einsum('bkn,bntc->bktc', chosen, windows).flatten(0, 1)",
    ),
    ("sparse_block", "the mask in double", MASK, MASK + ".double().to(x.dtype)"),
    (
        "sparse_block",
        "a window at a time",
        ATTEND,
        "tables = [None] * len(some) if mask is None else mask[:, None]\n"
        "    some = torch.cat([one[None] + block.attn(block.norm1(one[None]), table)\n"
        "                      for one, table in zip(some, tables)])",
    ),
    (
        "sparse_stage",
        "the default is looked up inside",
        "x = stage.downsample(x)",
        "importance = importance or magnitude\n    x = stage.downsample(x)",
    ),
    ("sparse_stage", "scores in double", "= importance(x)", "= importance(x).double()"),
    (
        "random_layout",
        "by rng.random",
        LAYOUT,
        "draw = lambda: choices[int(rng.random() * len(choices))]\n"
        "    return tuple(tuple(sorted([draw() for _ in range(n)])) for n in pairs)",
    ),
    (
        "random_layout",
        "shuffled before it is sorted",
        LAYOUT,
        "layout = []\n"
        "    for n in pairs:\n"
        "        ratios = rng.choices(choices, k=n)\n"
        "        rng.shuffle(ratios)\n"
        "        layout.append(tuple(sorted(ratios)))\n"
        "    return tuple(layout)",
    ),
    ("predicted_seconds", "a tensor", "return rest + sum(", "return torch.tensor(rest) + sum("),
    ("evolve", "a list", RETURN, "return [max(tried, key=tried.get), tried]"),
    (
        "evolve",
        "another kind of dict",
        "tried = {}",
        "from collections import OrderedDict\n    tried = OrderedDict()",
    ),
    ("evolve", "looks twice", CHILD, "seconds(child)\n            " + CHILD),
]

# exercise, what is wrong, old text, new text, points kept
WRONG = [
    (
        "window_scores",
        "images and windows mixed",
        NORM,
        "return windows.square().sum(dim=(1, 2)).sqrt().view(-1, len(importance)).T",
        1.5,
    ),
    (
        "window_scores",
        "a window of 4 written into the code",
        CUT,
        CUT.replace("window)", "4)"),
        1.5,
    ),
    (
        "window_scores",
        "half a window",
        ROLL,
        "shift = window // 2 if shift else 0\n    rolled = " + ROLL,
        1.5,
    ),
    (
        "window_scores",
        "not rolled along one axis",
        ROLL,
        "torch.roll(importance, -shift, dims=1)",
        1.5,
    ),
    ("window_scores", "no gradient", CUT, CUT.replace("rolled[", "rolled.detach()["), 1.5),
    (
        "window_scores",
        "in place",
        ROLL,
        "torch.roll(importance.mul_(1.5), (-shift, -shift), dims=(1, 2)) / 1.5",
        1.5,
    ),
    (
        "window_scores",
        "wrong from 11 windows a side",
        NORM,
        """side = importance.shape[2] // window
    order = sorted(range(len(windows) // len(importance)), key=lambda i: f"{i // side}{i % side}")
    return windows.square().sum(dim=(1, 2)).sqrt().view(len(importance), -1)[:, order]""",
        1.5,
    ),
    ("window_scores", "the sum over the channels", ABS, "return x.abs().sum(dim=-1)", 1.5),
    ("window_scores", "the root mean square", ABS, "return x.square().mean(dim=-1).sqrt()", 1.5),
    (
        "window_scores",
        "one channel loses its axis",
        ABS,
        "return x.squeeze(-1).abs().mean(dim=-1)",
        1.5,
    ),
    ("window_scores", "magnitude in place", ABS, "return x.abs_().mean(dim=-1)", 1.5),
    ("keep_windows", "rounded", K, "round(scores.shape[1] * (1 - ratio))", 0),
    (
        "keep_windows",
        "rounded down, what is skipped",
        K,
        "scores.shape[1] - int(scores.shape[1] * ratio)",
        0,
    ),
    ("keep_windows", "no 1e-9", K, K.replace(" + 1e-9", ""), 0),
    ("keep_windows", "none is kept", f"max(1, {K})", K, 0),
    ("keep_windows", "the number of images", K, K.replace("shape[1]", "shape[0]"), 0),
    ("keep_windows", "in order of place", TOP, TOP + ".sort(dim=1).values", 0),
    ("keep_windows", "floats", TOP, TOP + ".float()", 0),
    ("keep_windows", "the values", TOP, TOP.replace("indices", "values"), 0),
    (
        "keep_windows",
        "the largest numbers of either sign",
        TOP,
        TOP.replace("scores.", "scores.abs()."),
        0,
    ),
    (
        "gather_scatter",
        "values of 0 are left out",
        SCATTER,
        "out = torch.zeros_like(windows)\n    out[image, index] = values\n    return torch.where(out == 0, windows, out)",
        2,
    ),
    ("gather_scatter", "zeros elsewhere", "windows.clone()", "torch.zeros_like(windows)", 2),
    ("gather_scatter", "scatter in place", "windows.clone()", "windows", 2),
    ("gather_scatter", "values without gradient", "= values", "= values.detach()", 2),
    (
        "gather_scatter",
        "windows without gradient",
        "windows.clone()",
        "windows.detach().clone()",
        2,
    ),
    ("gather_scatter", "one list for all images", GATHER, "return windows[:, index[0]]", 2),
    (
        "gather_scatter",
        "pairs of images and places",
        GATHER,
        "return windows[image.flatten(), index] if len(index) == index.shape[1] else windows[image, index]",
        2,
    ),
    (
        "gather_scatter",
        "in order of place",
        GATHER,
        "return windows[image, index.sort(dim=1).values]",
        2,
    ),
    (
        "sparse_block",
        "everything is left out",
        "batch, rows, columns, channels = x.shape",
        "return x\n    batch, rows, columns, channels = x.shape",
        0,
    ),
    (
        "sparse_block",
        "the whole block",
        "batch, rows, columns, channels = x.shape",
        "return block(x)\n    batch, rows, columns, channels = x.shape",
        0,
    ),
    (
        "sparse_block",
        "the MLP for all windows",
        MLP,
        "y = windows.clone()\n    y[torch.arange(batch)[:, None], index] = some.view(batch, -1, window**2, channels)\n    y = block.mlp(block.norm2(y))[torch.arange(batch)[:, None], index]\n    some = some + y.flatten(0, 1)",
        2.5,
    ),
    (
        "sparse_block",
        "a window of 4 written into the code",
        "window, shift = block.window, block.shift",
        "window, shift = 4, block.shift",
        2.5,
    ),
    (
        "sparse_block",
        "half a window",
        "window, shift = block.window, block.shift",
        "window, shift = block.window, block.window // 2",
        2.5,
    ),
    ("sparse_block", "no mask", "if shift:", "if False:", 2.5),
    (
        "sparse_block",
        "the first tables",
        MASK,
        MASK.replace("[index].flatten(0, 1)", "[:index.shape[1]].repeat(batch, 1, 1)"),
        2.5,
    ),
    (
        "sparse_block",
        "the first image's tables",
        MASK,
        MASK.replace("[index].flatten(0, 1)", "[index[0]].repeat(batch, 1, 1)"),
        2.5,
    ),
    ("sparse_block", "no second norm", MLP, "some = some + block.mlp(some)", 2.5),
    (
        "sparse_block",
        "no first shortcut",
        ATTEND,
        "some = block.attn(block.norm1(some), mask)",
        2.5,
    ),
    ("sparse_block", "not rolled back", BACK, "return out", 2.5),
    (
        "sparse_block",
        "no gradient to what was left out",
        PUT,
        PUT.replace("(windows,", "(windows.detach(),"),
        2.5,
    ),
    ("sparse_block", "in place", PUT, "x += 0.5\n    " + PUT, 2.5),
    (
        "sparse_stage",
        "a window of 4 written into the code",
        FOUND,
        "window_scores(scores, 4, block.shift)",
        1,
    ),
    (
        "sparse_stage",
        "shift of 2 written into the code",
        FOUND,
        "window_scores(scores, block.window, 2 * (i % 2))",
        1,
    ),
    ("sparse_stage", "regular lists only", FOUND, "window_scores(scores, block.window)", 1),
    (
        "sparse_stage",
        "a fresh score for each pair",
        "if scores is None:",
        "if scores is None or i % 2 == 0:",
        1,
    ),
    ("sparse_stage", "importance is not used", "= importance(x)", "= x.abs().mean(dim=-1)", 1),
    (
        "sparse_stage",
        "asked although nothing is skipped",
        DENSE,
        "if scores is None and i == len(stage.blocks) - 1:\n            importance(x)\n        "
        + DENSE,
        3,
    ),
    (
        "sparse_stage",
        "asked although nothing is skipped, first",
        "scores = None\n",
        "scores = importance(x)\n",
        0,
    ),
    ("sparse_stage", "sparse_block for all windows", DENSE, "", 0),
    ("sparse_stage", "the first ratio for all pairs", "ratios[i // 2]", "ratios[0]", 1),
    ("sparse_stage", "a ratio for each block", "ratios[i // 2]", "ratios[i % len(ratios)]", 1),
    ("sparse_stage", "no downsample", "x = stage.downsample(x)", "x = x * 1", 0),
    (
        "sparse_stage",
        "another default",
        "importance=magnitude",
        "importance=lambda x: x.square().mean(-1)",
        1,
    ),
    (
        "random_layout",
        "CHOICES for choices",
        LAYOUT,
        LAYOUT.replace("choice(choices)", "choice(CHOICES)"),
        0,
    ),
    (
        "random_layout",
        "lists",
        LAYOUT,
        "return [sorted(rng.choice(choices) for _ in range(n)) for n in pairs]",
        0,
    ),
    (
        "random_layout",
        "the largest first",
        LAYOUT,
        "return tuple(tuple(sorted(rng.choices(choices, k=n), reverse=True)) for n in pairs)",
        0,
    ),
    ("random_layout", "not from rng", LAYOUT, LAYOUT.replace("rng.", "random."), 0),
    (
        "random_layout",
        "without replacement",
        LAYOUT,
        "return tuple(tuple(sorted(rng.sample(choices, min(n, len(choices))) + [choices[0]] * (n - len(choices)))) for n in pairs)",
        0,
    ),
    (
        "random_layout",
        "sorted across stages",
        LAYOUT,
        "flat = sorted(rng.choice(choices) for _ in range(sum(pairs)))\n    return tuple(tuple(flat.pop(0) for _ in range(n)) for n in pairs)",
        0,
    ),
    (
        "random_layout",
        "one draw for all stages",
        LAYOUT,
        "flat = [rng.choice(choices) for _ in range(max(pairs))]\n    return tuple(tuple(sorted(flat[:n])) for n in pairs)",
        0,
    ),
    (
        "random_layout",
        "between the choices",
        LAYOUT,
        LAYOUT.replace("rng.choice(choices)", "rng.uniform(choices[0], choices[-1])"),
        0,
    ),
    (
        "random_layout",
        "the last choice never",
        LAYOUT,
        LAYOUT.replace("choice(choices)", "choice(choices[:-1] or choices)"),
        0,
    ),
    ("predicted_seconds", "equal pairs once", "for ratio in ratios", "for ratio in set(ratios)", 0),
    ("predicted_seconds", "no rest", "rest + ", "", 0),
    ("predicted_seconds", "the rest for each stage", "rest + ", "len(layout) * rest + ", 0),
    (
        "predicted_seconds",
        "a stage's first ratio",
        "for ratio in ratios",
        "for ratio in ratios[:1] * len(ratios)",
        0,
    ),
    ("predicted_seconds", "only two stages", "enumerate(layout)", "enumerate(layout[:2])", 0),
    (
        "predicted_seconds",
        "the table is emptied",
        SECONDS,
        SECONDS.replace("return", "total =") + "\n    table.clear()\n    return total",
        0,
    ),
    ("evolve", "start is asked twice", START, "if seconds(layout) <= most:", 1.5),
    ("evolve", "start is not looked at", START, "if layout not in tried:", 1.5),
    (
        "evolve",
        "only the fastest start",
        "for layout in start:",
        "for layout in sorted(start, key=seconds)[:1]:",
        0,
    ),
    ("evolve", "start in another order", "for layout in start:", "for layout in sorted(start):", 0),
    ("evolve", "start is emptied", RETURN, "start.clear()\n    " + RETURN, 0),
    ("evolve", "children are not looked at", CHILD, "if child not in tried:", 1.5),
    ("evolve", "children are asked twice", CHILD, "if seconds(child) <= most:", 1.5),
    ("evolve", "shorter than allowed", CHILD, CHILD.replace("<=", "<"), 1.5),
    (
        "evolve",
        "the count begins again",
        "found = 0\n        for _ in range(50 * population):",
        "last = made = found = 0\n        while made < 50 * population:\n            made = made + 1 if found == last else 1\n            last = found",
        1.5,
    ),
    (
        "evolve",
        "parents of the first round",
        RANKED,
        RANKED.replace("[:parents]", "[:parents] if _ == 0 else best"),
        1.5,
    ),
    ("evolve", "the worst are parents", RANKED, RANKED.replace(", reverse=True", ""), 1.5),
    ("evolve", "five parents written into the code", RANKED, RANKED.replace("parents", "5"), 1.5),
    ("evolve", "a round too many", ROUND, "for _ in range(rounds + 1):", 0),
    ("evolve", "only 10 tries for each child", "50 * population", "10 * population", 1.5),
    (
        "evolve",
        "the qualities are lost",
        RETURN,
        "return max(tried, key=tried.get), list(tried)",
        0,
    ),
    ("evolve", "the last is the best", RETURN, "return list(tried)[-1], tried", 0),
    ("evolve", "another default", "parents=5", "parents=4", 1.5),
]

# exercise, old text of the solution, new text, what is said about it
SAID = [
    (
        "window_scores",
        NORM,
        NORM.replace("view(len(importance), -1)", "view(-1, len(importance)).T"),
        "with the wrong image",
    ),
    ("window_scores", CUT, CUT.replace("window)", "4)"), "Right: regular windows; shifted windows"),
    ("keep_windows", K, K.replace(" + 1e-9", ""), "Add 1e-9 before"),
    ("gather_scatter", "windows.clone()", "windows", "the inputs were changed in place (windows)"),
    ("gather_scatter", "= values", "= values.detach()", "gradient of values is None"),
    (
        "gather_scatter",
        "windows.clone()",
        "torch.zeros_like(windows)",
        "that were left out hold zeros",
    ),
    ("sparse_block", "if shift:", "if False:", "Your shifted windows get no mask"),
    (
        "sparse_block",
        ATTEND,
        "some = block.attn(block.norm1(some), mask)",
        "result, regular windows: the values of output differ",
    ),
    (
        "sparse_stage",
        FOUND,
        "window_scores(scores, block.window)",
        "use the list of the regular windows",
    ),
    (
        "random_layout",
        LAYOUT,
        LAYOUT.replace("choice(choices)", "choice(CHOICES)"),
        "The argument choices is not used",
    ),
    (
        "random_layout",
        LAYOUT,
        "return [sorted(rng.choice(choices) for _ in range(n)) for n in pairs]",
        "not true: a layout is a tuple of tuples",
    ),
    (
        "predicted_seconds",
        "for ratio in ratios",
        "for ratio in set(ratios)",
        "have the same ratio count once",
    ),
    (
        "evolve",
        START,
        "if layout not in tried:",
        "start, some too slow: layouts asked has 7 values instead of 6. Layouts that take too long",
    ),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("05")


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_all_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)), ["another"])


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept"), WRONG, ids=ids(WRONG))
def test_a_wrong_answer_loses_what_it_breaks_and_is_red(marker, exercise, kind, old, new, kept):
    marker.refuses(exercise, marker.answered(exercise, (old, new)), kept, ["another"])


@pytest.mark.parametrize(
    ("exercise", "old", "new", "said"), SAID, ids=[f"{s[0]}: {s[3]}" for s in SAID]
)
def test_a_lost_point_comes_with_its_reason(marker, exercise, old, new, said):
    names = marker.answered(exercise, (old, new))
    assert said in marker.verdict(exercise, names, "another").message


def test_a_stand_in_takes_the_place_of_an_exercise_that_is_not_solved(marker):
    later = {
        "sparse_block": ("gather_scatter",),
        "sparse_stage": ("window_scores", "keep_windows", "gather_scatter", "sparse_block"),
    }
    for exercise, earlier in later.items():
        stubs = {name: stub_of(marker.solution(name)) for name in earlier}
        marker.accepts(exercise, namespace_of(marker.lab, stubs), ["another"])


def stub_of(solution):
    """A solution's functions, none of them solved."""
    heads = [line for line in solution.splitlines() if line.startswith("def ")]
    return "".join(f"{line}\n    raise NotImplementedError\n\n" for line in heads)
