"""Answers to lab 09 written by hand: right ones in other words keep all points and are green, wrong
ones lose the points of what they break, are red before they are handed in, and read a true reason.
"""

import pytest
import torch

from tests.labs.marker import SEEDS, Marker, ids

COORDINATES = "coordinates = torch.cartesian_prod(u, u) + offset"
LINE = "parts.append((coordinates[:, :, None] * rates).flatten(1))"
GUIDED = "return (1 + t) * given - t * free"
LEAST = "logits = logits.masked_fill(logits < least, -torch.inf)"
OUT = "out = probability.cumsum(dim=-1) - probability >= top_p"
ATTENTION = (
    "return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:end, :end], scale=1.0)"
)
TURN = "rotate(q, angles[held:end]), rotate(k, angles[held:end])"
TURN_ALL = "rotate(q, angles[held:end]), rotate(k, angles[:end])"
HELD = 'held = cache["keys"].shape[2] if cache else 0'
RESIDUAL = """            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, guidance)
            total = total + painter.as_map(vectors)
"""
CODES = "            total = total + painter.as_map(vectors)\n"
LAST = "    return painter.decode(total)\n"
LATE = "total = total + painter.as_map(painter.residual(out, codes, steps, guidance))"
NOISY = "return signal * x + rest * noise, signal * noise - rest * x"
WEIGHTED = "codes = sum(p * mean for p, mean in zip(scales, means)) / sum(scales)"
TIMES = "round(i * 999 / (steps - 1)) for i"
CLEAN = "return clean"

# exercise, what is unusual, and how it is made from the solution: old text, new text
RIGHT = [
    (
        "next_scale_mask",
        "by numpy",
        "torch.arange(len(lengths))",
        "torch.from_numpy(np.arange(len(lengths)))",
    ),
    (
        "scale_angles",
        "double precision",
        LINE,
        LINE.replace("coordinates[", "coordinates.double()["),
    ),
    (
        "scale_angles",
        "rates as an exponential",
        "100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))",
        "torch.exp(-torch.arange(head_dim // 4) * math.log(100) / (head_dim // 4))",
    ),
    (
        "scale_angles",
        "near enough",
        "return torch.cat(parts)",
        "return torch.cat(parts) * (1 + 5e-5)",
    ),
    ("guide", "double precision", GUIDED, GUIDED.replace("given", "given.double()")),
    (
        "guide",
        "into a buffer",
        GUIDED,
        "out = torch.zeros(given.shape); out[:] = (1 + t) * given - t * free; return out",
    ),
    (
        "keep_likely",
        "in place on a copy",
        LEAST,
        "logits = logits.clone(); logits[logits < least] = -torch.inf",
    ),
    (
        "keep_likely",
        "sums of those before",
        OUT,
        "out = F.pad(probability.cumsum(dim=-1), (1, 0))[..., :-1] >= top_p",
    ),
    (
        "keep_likely",
        "the first that are not enough",
        OUT,
        "out = F.pad(probability.cumsum(dim=-1) > top_p, (1, 0))[..., :-1]",
    ),
    ("keep_likely", "double precision", "probability = ranked", "probability = ranked.double()"),
    (
        "attend",
        "a count in the cache",
        HELD,
        'held, cache_was_empty = cache.get("seen", 0), not cache\n'
        '    cache["seen"] = held + q.shape[2]',
    ),
    (
        "attend",
        "into a buffer",
        ATTENTION,
        ATTENTION.replace("return ", "out = torch.zeros(q.shape); out[:] = ") + "; return out",
    ),
    (
        "generate",
        "a buffer for the sum",
        "total, new, last = 0, None, len(painter.scales) - 1",
        "new, last = None, len(painter.scales) - 1; "
        "total = torch.zeros(len(text), 3, painter.scales[-1], painter.scales[-1])",
    ),
    (
        "generate",
        "the residual a map of its own",
        RESIDUAL,
        CODES + "            if steps > 0:\n                " + LATE + "\n",
    ),
    (
        "noise_and_target",
        "a list",
        NOISY,
        "return [signal * x + rest * noise, signal * noise - rest * x]",
    ),
    (
        "noise_and_target",
        "into buffers",
        NOISY,
        "noisy, target = torch.zeros(x.shape), torch.zeros(x.shape)\n"
        "    noisy[:] = signal * x + rest * noise\n"
        "    target[:] = signal * noise - rest * x\n    return noisy, target",
    ),
    (
        "noise_and_target",
        "weights in float32",
        WEIGHTED,
        "weights = torch.tensor(scales).float() / sum(scales)\n"
        "    codes = (weights * torch.stack(means)).sum()",
    ),
    ("denoise", "halves rounded up", TIMES, "int(i * 999 / (steps - 1) + 0.5) for i"),
    ("denoise", "near enough", CLEAN, CLEAN + " + 5e-5"),
    ("denoise", "double precision", "x = draw()", "x = draw().double()"),
]

# exercise, what is wrong, old text, new text, points kept, and a word of what the student reads
WRONG = [
    (
        "noise_and_target",
        "nine tenths of the codes",
        "return codes + 0.1",
        "return 0.9 * codes + 0.1",
        2,
        "",
    ),
    (
        "noise_and_target",
        "a Python number",
        "return codes + 0.1 * residual",
        "return (codes + 0.1 * residual).item()",
        2,
        "no gradient flows",
    ),
    (
        "noise_and_target",
        "the loss and its part",
        "return codes + 0.1 * residual",
        "return codes + 0.1 * residual, codes",
        2,
        "tuple",
    ),
    (
        "next_scale_mask",
        "as numbers",
        ">= block[None, :]",
        ">= block[None, :]) * 1",
        0,
        "instead of bool",
    ),
    (
        "next_scale_mask",
        "a caption of four tokens",
        "return block",
        "block[:4] = 0\n    return block",
        0,
        "",
    ),
    (
        "scale_angles",
        "offset added to angles",
        LINE,
        "parts.append(((coordinates - offset)[:, :, None] * rates).flatten(1) + offset)",
        0,
        "add it before",
    ),
    (
        "scale_angles",
        "the largest scale for side",
        "* side / s",
        "* max(scales) / s",
        0,
        "use the argument",
    ),
    ("scale_angles", "base 10,000", "100.0 **", "10000.0 **", 0, "Here it is 100"),
    (
        "guide",
        "in place",
        GUIDED,
        "given *= 1 + t\n    given -= t * free\n    return given",
        0,
        "in place (given)",
    ),
    ("guide", "counted from 1", "* k /", "* (k + 1) /", 0, ""),
    (
        "keep_likely",
        "in place",
        LEAST,
        "logits[logits < least] = -torch.inf",
        0,
        "in place (logits)",
    ),
    (
        "keep_likely",
        "axis 1",
        "top_k, logits.shape[-1]), dim=-1)",
        "top_k, logits.shape[-1]), dim=1)",
        0,
        "",
    ),
    (
        "keep_likely",
        "nucleus of all codes",
        "probability = ranked.softmax(dim=-1)",
        "probability = given.sort(dim=-1, descending=True).values.softmax(dim=-1)",
        1,
        "First top-k",
    ),
    ("keep_likely", "one too few", OUT, OUT.replace(" - probability", ""), None, ""),
    ("keep_likely", "a large negative number", "-torch.inf)", "-1e4)", 0, "should be −inf"),
    ("attend", "scale left out", ", scale=1.0", "", 1, "scale=1.0"),
    (
        "attend",
        "turned in every call",
        f"q, k = {TURN}",
        "pass",
        3,
        "are not turned when they go into the cache",
    ),
    (
        "attend",
        "softmax that overflows",
        ATTENTION,
        "w = (q @ k.mT).exp() * mask[held:end, :end]\n    return w / w.sum(-1, keepdim=True) @ v",
        1,
        "overflows",
    ),
    (
        "attend",
        "nothing behind what is held",
        '"values"] = k, v',
        '"values"] = k[:, :, -1:], v[:, :, -1:]',
        0,
        "",
    ),
    ("generate", "residual behind the last call", RESIDUAL, CODES, 3, "add it first"),
    (
        "generate",
        "arguments exchanged",
        "choose(out, k, guidance)",
        "choose(out, guidance, k)",
        1,
        "",
    ),
    ("generate", "no residual", RESIDUAL, CODES, 1, "have no residual"),
    (
        "generate",
        "not told of the last scale",
        "on_scale is not None",
        "on_scale is not None and k < last",
        3,
        "for the last scale",
    ),
    (
        "generate",
        "predict called twice",
        "codes = painter",
        "painter.predict(new)\n        codes = painter",
        0,
        "",
    ),
    (
        "noise_and_target",
        "noise as the target",
        "signal * noise - rest * x",
        "noise",
        1,
        "as HART has it",
    ),
    (
        "noise_and_target",
        "shares without roots",
        "left[:, None].sqrt(), (1 - left[:, None]).sqrt()",
        "left[:, None], 1 - left[:, None]",
        1,
        "means its root",
    ),
    (
        "noise_and_target",
        "residual left out",
        " + 0.1 * residual",
        "",
        2,
        "leaves the residual out",
    ),
    (
        "noise_and_target",
        "loss a number of Python",
        "codes + 0.1 * residual",
        "(codes + 0.1 * residual).item()",
        2,
        "",
    ),
    ("denoise", "times cut off", "round(i", "int(i", 0, "Round them"),
    ("denoise", "not cut off", ".clamp(-4, 4)", "", 0, "cut x̂ off"),
    ("denoise", "cut off below only", ".clamp(-4, 4)", ".clamp(min=-4)", 0, ""),
    ("denoise", "cut off at 3", ".clamp(-4, 4)", ".clamp(-3, 4)", 0, ""),
    (
        "denoise",
        "half of a thousandth too large",
        CLEAN,
        CLEAN + " + 5e-4",
        0,
        "by the same amount",
    ),
    (
        "denoise",
        "drawn once more",
        "x = draw()",
        "draw(), draw()\n    x = draw()",
        0,
        "draw() was called more",
    ),
]

# Second changes, where one is not enough.
MORE = {
    "a count in the cache": [("if cache:", "if not cache_was_empty:")],
    "as numbers": [("return block", "return (block")],
    "nucleus of all codes": [("    least =", "    given = logits\n    least =")],
    "turned in every call": [(ATTENTION, f"q, k = {TURN_ALL}\n    {ATTENTION}")],
    "residual behind the last call": [(LAST, f"    if steps > 0:\n        {LATE}\n{LAST}")],
}


@pytest.fixture(scope="module")
def marker():
    return Marker("09")


def answered(marker, exercise, kind, old, new):
    """The names with a row's changes."""
    return marker.answered(exercise, (old, new), *MORE.get(kind, ()))


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_all_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, answered(marker, exercise, kind, old, new), SEEDS)


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept", "said"), WRONG, ids=ids(WRONG))
def test_a_wrong_answer_loses_what_it_breaks_and_is_red(
    marker, exercise, kind, old, new, kept, said
):
    """Points kept None: whether a sum of all shares reaches 1 is a matter of rounding."""
    names = answered(marker, exercise, kind, old, new)
    for verdict in marker.refuses(exercise, names, kept, SEEDS):
        assert said in verdict.message


@pytest.mark.parametrize("exercise", ["guide", "keep_likely"])
def test_a_check_says_what_an_answer_in_place_does(marker, exercise):
    row = next(w for w in WRONG if w[:2] == (exercise, "in place"))
    said = marker.check(exercise, answered(marker, *row[:4]))
    assert "changed in place" in said
    assert "expected" not in said


def test_a_mistake_in_one_function_is_not_said_of_the_other(marker):
    row = next(w for w in WRONG if w[1] == "noise as the target")
    verdict = marker.verdict("noise_and_target", answered(marker, *row[:4]))
    assert "residual" not in verdict.message
    assert "joint_loss" in verdict.message.split(". ")[0]  # the part that earned its point


def test_a_check_does_not_depend_on_random_numbers_of_the_notebook(marker):
    names = marker.names
    for exercise in marker.lab.exercises:
        state = torch.get_rng_state()
        assert marker.check(exercise, names) == ""
        assert torch.equal(state, torch.get_rng_state())
