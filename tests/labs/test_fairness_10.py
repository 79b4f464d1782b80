"""Answers to lab 10's sections 1 to 4 written by hand: right ones in other words keep all points
and are green, wrong ones lose the points of what they break, are red before they are handed in, and
read a true reason.
"""

import pytest
import torch

from tests.labs.marker import SEEDS, Marker, ids

DISTANCE = "distance = codebook.square().sum(dim=-1) - 2 * rest @ codebook.T  # but for |rest|²"
REST = "rest = rest - codebook[indices[-1]]"
SUMS = "return indices, codebook[indices].cumsum(dim=-2)"
STOP = "sums = sums.detach()"
PAIR = "return discrete, commitment"
MEAN = "commitment = (x[..., None, :] - sums).square().mean()"
SIGNS = "signs = torch.where(same, 1.0, -1.0)"
AGREE = "return -F.logsigmoid(signs * logits).sum() / len(images)"
TOWER = "return (made - images).abs().mean() + commitment / 4 + agree"
ROW = "return torch.tensor(tokens), torch.tensor(learned), torch.tensor(drawn)"
LAST = "last = at == len(words) - 3"
BEFORE = "return states[:, :-1][drawn[:, 1:]]"

# exercise, what is unusual, and how it is made from the solution: old text, new text
RIGHT = [
    ("residual_codes", "a list for the pair", SUMS, SUMS.replace("return ", "return [") + "]"),
    (
        "residual_codes",
        "double precision",
        DISTANCE,
        "distance = torch.cdist(rest.double()[None] "
        "if rest.dim() == 1 else rest.double(), codebook.double()); "
        "distance = distance[0] if rest.dim() == 1 else distance",
    ),
    ("residual_codes", "indices in int32", SUMS, SUMS.replace("indices,", "indices.int(),", 1)),
    ("residual_codes", "no gradient", SUMS, SUMS + ".detach()"),
    (
        "residual_codes",
        "sums from what is left",
        SUMS,
        "return indices, torch.stack([codebook[indices[..., :d + 1]].sum(dim=-2) "
        "for d in range(depth)], dim=-2)",
    ),
    ("straight_through", "a list for the pair", PAIR, "return [discrete, commitment]"),
    ("straight_through", "double precision", STOP, "sums, x = sums.detach().double(), x.double()"),
    (
        "straight_through",
        "a commitment of one number",
        MEAN,
        "commitment = (x[..., None, :] - sums).square().flatten(-2).mean(dim=-1).mean()",
    ),
    ("sigmoid_loss", "double precision", SIGNS, "signs = 2.0 * same.double() - 1"),
    (
        "sigmoid_loss",
        "an epsilon in the length",
        "F.normalize(images, dim=-1)",
        "(images / (images.norm(dim=-1, keepdim=True) + 1e-8))",
    ),
    ("sigmoid_loss", "softplus", AGREE, "return F.softplus(-signs * logits).sum() / len(images)"),
    ("sigmoid_loss", "near enough", TOWER, TOWER + " + 5e-6"),
    ("mix_row", "lists", ROW, "return tokens, learned, drawn"),
    (
        "mix_row",
        "int32",
        ROW,
        "return [torch.tensor(tokens).int(), torch.tensor(learned).int(), torch.tensor(drawn)]",
    ),
    ("mix_row", "numpy", ROW, "return tuple(np.array(part) for part in (tokens, learned, drawn))"),
    ("mix_row", "by the words behind", LAST, "last = words[at + 1 :] == [IMAGE_END, END]"),
    (
        "mix_row",
        "a loop over rows",
        BEFORE,
        "return torch.cat([s[:-1][d[1:]] for s, d in zip(states, drawn)])",
    ),
]

# exercise, what is wrong, old text, new text, points kept, and a word of what the student reads
WRONG = [
    ("residual_codes", "in place", REST, "rest -= codebook[indices[-1]]", 0, "in place (x)"),
    (
        "residual_codes",
        "half precision",
        DISTANCE,
        "distance = (codebook.square().sum(dim=-1) - 2 * rest @ codebook.T).bfloat16()",
        0,
        "",
    ),
    (
        "residual_codes",
        "the last sum alone",
        SUMS,
        "return indices, codebook[indices].sum(dim=-2)",
        0,
        "shape",
    ),
    ("residual_codes", "one depth too many", "range(depth)", "range(depth + 1)", 0, "shape"),
    ("residual_codes", "counted from 1", SUMS, SUMS.replace("indices,", "indices + 1,", 1), 0, ""),
    (
        "straight_through",
        "codes as they are",
        "discrete = x + (sums[..., -1, :] - x).detach()",
        "discrete = sums[..., -1, :]",
        0,
        "no gradient reaches x",
    ),
    ("straight_through", "a Python number", PAIR, "return discrete, commitment.item()", 0, ""),
    ("straight_through", "root of the squares", MEAN, MEAN + ".sqrt()", 0, ""),
    ("straight_through", "sums not stopped", STOP, "pass", 0, "gradient"),
    (
        "sigmoid_loss",
        "the logarithm of a sigmoid",
        "F.logsigmoid(signs * logits)",
        "torch.log(torch.sigmoid(signs * logits))",
        1,
        "",
    ),
    ("sigmoid_loss", "signs 1 and 0", SIGNS, "signs = same.float()", 1, ""),
    ("sigmoid_loss", "one direction normalised", "F.normalize(texts, dim=-1)", "texts", 1, ""),
    (
        "sigmoid_loss",
        "a mean",
        AGREE,
        "return -F.logsigmoid(signs * logits).mean()",
        1,
        "number of pairs",
    ),
    ("sigmoid_loss", "commitment times four", TOWER, TOWER.replace("/ 4", "* 4"), 3, ""),
    ("sigmoid_loss", "agreement left out", TOWER, TOWER.replace(" + agree", ""), 3, ""),
    (
        "mix_row",
        "in place on the labels",
        "last = at",
        "labels[at] = IGNORE; last = at",
        1,
        "in place (labels)",
    ),
    ("mix_row", "always the last image", LAST, "last = IMAGE not in words[at + 1 :]", 1, ""),
    ("mix_row", "marks as numbers", "torch.tensor(drawn)", "torch.tensor(drawn).long()", 1, "bool"),
    ("mix_row", "the image left as one", "[IMAGE] * places", "[IMAGE]", 1, "shape"),
    ("mix_row", "states detached", BEFORE, BEFORE.replace("states[", "states.detach()["), 3, ""),
    ("mix_row", "all states", BEFORE, "return states[:, :-1].flatten(0, 1)", 3, ""),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("10")


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_all_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)), SEEDS)


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept", "said"), WRONG, ids=ids(WRONG))
def test_a_wrong_answer_loses_what_it_breaks_and_is_red(
    marker, exercise, kind, old, new, kept, said
):
    names = marker.answered(exercise, (old, new))
    for verdict in marker.refuses(exercise, names, kept, SEEDS):
        assert said in verdict.message


def test_a_check_does_not_depend_on_random_numbers_of_the_notebook(marker):
    names = marker.names
    for exercise in marker.lab.exercises:
        state = torch.get_rng_state()
        assert marker.check(exercise, names) == ""
        assert torch.equal(state, torch.get_rng_state())
