"""What each kind of wrong answer is told, by the whole way from a student's code to the verdict,
and that nothing on that way tells what would have been right."""

import json
import re

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from labsupport.answers.respond import LabNamespace, answer_cases, make_driver
from labsupport.answers.wire import decode
from labsupport.course.build import dump, student_notebook
from labsupport.course.lab import SourceError
from labsupport.course.source import parse_lab, read_lab
from labsupport.grading.demo import solve
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.running.limits import Death
from labsupport.grading.running.run import Execution
from labsupport.grading.submission import questions
from labsupport.grading.submission.submission import grade_submission
from tests.conftest import ROOT

FORMS = ROOT / "tests" / "fixtures" / "forms" / "91_forms.py"

CENTRE = "def centre(x):\n    right = x - x.mean(dim=1, keepdim=True)\n"
SUBCLASS = "class Mine(torch.Tensor):\n    pass\n\n"

# exercise, code, status, words of the message
WRONG = {
    "not defined": ("centre", "x = 3", "missing", "centre is not defined in the notebook"),
    "not implemented": (
        "centre",
        "def centre(x):\n    raise NotImplementedError",
        "missing",
        "not implemented yet",
    ),
    "nothing returned": ("centre", CENTRE, "failed", "nothing was returned: is a return missing?"),
    "NaN": ("centre", CENTRE + "    return right / 0 * 0", "failed", "holds NaN (100%"),
    "infinite": (
        "centre",
        CENTRE + "    right[0, 0] = float('inf')\n    return right",
        "failed",
        "holds infinite values (8% of them)",
    ),
    "integers": (
        "centre",
        CENTRE + "    return right.long()",
        "failed",
        "is int64 instead of float32",
    ),
    "complex": (
        "centre",
        CENTRE + "    return torch.complex(right, right).conj()",
        "failed",
        "is complex64 instead of float32",
    ),
    "transposed": (
        "centre",
        CENTRE + "    return right.T",
        "failed",
        "has shape (4, 3) instead of (3, 4)",
    ),
    "flat": ("centre", CENTRE + "    return right.flatten()", "failed", "has shape (12,)"),
    "list": (
        "centre",
        CENTRE + "    return right.tolist()",
        "failed",
        "is a list of 3, not a tensor",
    ),
    "pair": ("centre", CENTRE + "    return right, x", "failed", "is a tuple of 2, not a tensor"),
    "number": (
        "centre",
        CENTRE + "    return right.sum().item()",
        "failed",
        "is a float, not a tensor",
    ),
    "string": ("centre", CENTRE + "    return str(right)", "failed", "is a str, not a tensor"),
    "dict": ("centre", CENTRE + "    return {'x': right}", "failed", "is a dict, not a tensor"),
    "subclass": (
        "centre",
        SUBCLASS + CENTRE + "    return right.as_subclass(Mine)",
        "failed",
        "is a Mine, a subclass of torch.Tensor; return a plain tensor",
    ),
    "sparse": (
        "centre",
        CENTRE + "    return right.to_sparse()",
        "failed",
        "has the layout sparse_coo; return a dense tensor",
    ),
    "meta": (
        "centre",
        CENTRE + "    return right.to('meta')",
        "failed",
        "on the device 'meta' and holds no values",
    ),
    "expanded": (
        "centre",
        "def centre(x):\n    return x[:1, :1].expand(10000, 10000)",
        "failed",
        "too large to send: an answer may take 8 MB",
    ),
    "generator": (
        "centre",
        CENTRE + "    return (row for row in right)",
        "failed",
        "is a generator, which has computed nothing yet",
    ),
    "iterator": (
        "centre",
        CENTRE + "    return map(float, right[0])",
        "failed",
        "is a map, which has computed nothing yet",
    ),
    "function": (
        "centre",
        CENTRE + "    return right.clone",
        "failed",
        "is not a value but a builtin_function_or_method (clone); call it",
    ),
    "lambda": ("centre", CENTRE + "    return lambda: right", "failed", "(<lambda>); call it"),
    "class": ("centre", CENTRE + "    return nn.Identity", "failed", "(Identity); call it"),
    "layer": (
        "centre",
        CENTRE + "    return nn.Identity()",
        "failed",
        "is the layer Identity; return what it gives for an input",
    ),
    "set": ("centre", CENTRE + "    return {1.0, 2.0}", "failed", "is a set, which has no order"),
    "object": (
        "centre",
        CENTRE + "    return object()",
        "failed",
        "is a object; return tensors, numbers, strings, lists or dicts",
    ),
    "masked array": (
        "centre",
        "import numpy as np\n" + CENTRE + "    return np.ma.array(right)",
        "failed",
        "is a MaskedArray, a subclass of numpy's array",
    ),
    "very many": (
        "centre",
        CENTRE + "    return [0.0] * 200_000",
        "failed",
        "has more than 100,000 values",
    ),
    "within itself": (
        "centre",
        CENTRE + "    all = [right]\n    all.append(all)\n    return all",
        "failed",
        "what came back cannot be used as the exercise says (Recursion",
    ),
    "in place": (
        "centre",
        "def centre(x):\n    x -= x.mean(1, keepdim=True)\n    return x",
        "failed",
        "the inputs were changed in place (x); work on a copy",
    ),
    "random": (
        "centre",
        CENTRE + "    return right + torch.rand(1)",
        "failed",
        "it gives two results: it draws random numbers",
    ),
    "python's random": (
        "centre",
        "import random\n" + CENTRE + "    return right + random.random()",
        "failed",
        "it gives two results: it draws random numbers",
    ),
    "state": (
        "centre",
        "calls = []\n" + CENTRE + "    calls.append(1)\n    return right + len(calls)",
        "failed",
        "it gives two results: something is kept from one call to the next",
    ),
    "once only": (
        "centre",
        "calls = []\n" + CENTRE + "    calls.append(1)\n    assert calls == [1]\n    return right",
        "failed",
        "works once, and fails when it is called again",
    ),
    "raises": ("centre", CENTRE + "    return right @ x", "error", "RuntimeError: mat1 and mat2"),
    "its line": (
        "centre",
        CENTRE + "    return right @ x",
        "error",
        "(in centre, line 3 of its cell)",
    ),
    "exits": ("centre", "def centre(x):\n    raise SystemExit", "error", "SystemExit"),
    "one argument more": (
        "centre",
        "def centre(x, y):\n    return x",
        "failed",
        "cannot be called as the exercise says (TypeError: centre() missing",
    ),
    "known mistake": (
        "centre",
        "def centre(x):\n    return x - x.mean(0, keepdim=True)",
        "failed",
        "the values of the result differ. Your output equals what you get when",
    ),
    "tensor of one number": (
        "count",
        "def count(x, limit):\n    return (x > limit).sum()[None]",
        "failed",
        "is a tensor of shape (1,), not a number",
    ),
    "bool": ("count", "def count(x, limit):\n    return True", "failed", "a bool, not a number"),
    "number is NaN": ("count", "def count(x, limit):\n    return float('nan')", "failed", "is NaN"),
    "number is infinite": (
        "count",
        "def count(x, limit):\n    return float('inf')",
        "failed",
        "is infinite",
    ),
    "number is huge": (
        "count",
        "def count(x, limit):\n    return 10.0 ** 300",
        "failed",
        "the value of the result differs",
    ),
    "number in words": (
        "count",
        "def count(x, limit):\n    return str(int((x > limit).sum()))",
        "failed",
        "is a str, not a number",
    ),
    "one of two": (
        "share",
        "def share(x, limit):\n    return (x > limit).double().mean().item()",
        "failed",
        "is a float, not 2 values",
    ),
    "three of two": (
        "share",
        "def share(x, limit):\n    return 1.0, True, None",
        "failed",
        "has 3 values instead of 2",
    ),
    "a number for a bool": (
        "share",
        "def share(x, limit):\n    part = (x > limit).double().mean()\n    return part.item(), 1",
        "failed",
        "item 2 of the result is an int, not True or False",
    ),
    "detached": (
        "halves",
        "def encode(x):\n    return 2 * x.detach() + 1\n\n"
        "def decode(y):\n    return (y.detach() - 1) / 2",
        "failed",
        "3 numbers: the result is cut off from its gradient",
    ),
    "nothing in a driver": (
        "halves",
        "def encode(x):\n    2 * x + 1\n\ndef decode(y):\n    (y - 1) / 2",
        "failed",
        "nothing came back where a result is wanted: is a return missing?",
    ),
    "list in a driver": (
        "halves",
        "def encode(x):\n    return [2 * x + 1]\n\ndef decode(y):\n    return [(y - 1) / 2]",
        "failed",
        "what came back cannot be used as the exercise says",
    ),
}

# by the kind above, where the status leaves it open
CAUSE = {
    "in place": "changed inputs",
    "random": "two results",
    "python's random": "two results",
    "state": "two results",
    "once only": "two results",
    "known mistake": "known mistake",
    "generator": "unusable",
    "one argument more": "unusable",
    "detached": "unusable",
    "transposed": "not what is right",
    "number is NaN": "not what is right",
}


@pytest.fixture(scope="module")
def key():
    return AnswerKey(read_lab(FORMS))


def verdict_of(key, exercise, code, seed="a"):
    """What a notebook is told whose only cell is ``code``."""
    challenge = key.challenge(exercise, seed)
    message = decode(challenge.text)
    names = {"__name__": "__main__"}
    exec("import torch\nfrom torch import nn", names)
    exec(compile(code, "<ipython-input-1>", "exec"), names)
    answers = answer_cases(
        make_driver(message["driver"], exercise), LabNamespace(names), message["cases"]
    )
    response = json.loads(json.dumps({"nonce": message["nonce"], "answers": answers}))
    return challenge, key.verdict(challenge, response)


@pytest.mark.parametrize("kind", WRONG)
def test_each_wrong_answer_is_told_what_it_is(key, kind):
    exercise, code, status, words = WRONG[kind]
    _, verdict = verdict_of(key, exercise, code)
    assert verdict.status == status and verdict.points == 0
    assert words in verdict.message
    assert "\n" not in verdict.message and len(verdict.message) < 1500
    by_status = {"missing": "not solved", "error": "raised"}
    assert verdict.cause == CAUSE.get(kind, by_status.get(status, verdict.cause)) != ""
    assert bool(verdict.hint) == (kind == "known mistake") and verdict.hint in verdict.message


RIGHT = {
    "float64": CENTRE + "    return right.double()",
    "a view": "def centre(x):\n    return (x - x.mean(1, keepdim=True)).T.contiguous().T",
    "numpy": "def centre(x):\n    x = x.numpy()\n    return x - x.mean(1, keepdims=True)",
    "a parameter": CENTRE + "    return nn.Parameter(right)",
    "a lazy conjugate": CENTRE + "    return torch.complex(right, right).conj().real",
    "a warning and a print": "import sys, warnings\n" + CENTRE + "    warnings.warn('careful')\n"
    "    print('now', file=sys.stderr)\n    return right",
    "a cache": "import functools\nseen = {}\n" + CENTRE + "    return seen.setdefault("
    "tuple(x.flatten().tolist()), right)",
    "a late import": "def centre(x):\n    import einops\n"
    "    return x - einops.reduce(x, 'r c -> r 1', 'mean')",
    "random numbers without effect": CENTRE + "    return right + 0 * torch.rand(1)",
}


@pytest.mark.parametrize("kind", RIGHT)
def test_what_only_looks_odd_is_right(key, kind):
    _, verdict = verdict_of(key, "centre", RIGHT[kind])
    assert (verdict.status, verdict.points) == ("passed", 3), verdict.message


def numbers_in(text):
    return re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)


def values_of(expected):
    """Every number in an expected answer as text, written in several ways."""
    if isinstance(expected, dict):
        expected = list(expected.values())
    if isinstance(expected, list | tuple):
        return {text for item in expected for text in values_of(item)}
    numbers = expected.flatten().tolist() if isinstance(expected, torch.Tensor) else [expected]
    return {
        form.format(n)
        for n in numbers
        for form in ("{:.3f}", "{:.4f}", "{}", "{:.6g}")
        if not isinstance(n, bool)
    }


@pytest.mark.parametrize("seed", range(4))
def test_no_message_holds_an_expected_value(key, seed):
    """Random inputs, so random right answers: none of their numbers is in what is said."""
    for exercise, code, _, _ in WRONG.values():
        challenge, verdict = verdict_of(key, exercise, code, str(seed))
        key.verdict(challenge, {"nonce": challenge.nonce, "answers": [{}] * len(challenge.cases)})
        secret = set().union(*(values_of(decode(e["answer"])) for e in key.expected(challenge)))
        inputs = set().union(*(values_of(list(c.inputs.values())) for c in challenge.cases))
        assert len(secret) >= 1
        told = {n for n in numbers_in(verdict.message)}
        assert not (secret - inputs) & told - {"0", "1", "2", "3", "4", "8"}, verdict.message


@pytest.fixture(scope="module")
def graded(key, sandbox):
    """A notebook with one half right, graded in a kernel; and what was right in it."""
    code = {
        "centre": "def centre(x):\n    return x * 0",
        "count": "def count(x, limit):\n    return 5000",
        "share": "import os\ndef share(x, limit):\n    os._exit(3)",
        "halves": "import os\n\ndef encode(x):\n    os._exit(3)\n\n"
        "def decode(y):\n    return (y - 1) / 2",
    }
    notebook = solve(student_notebook(key.lab), key.lab, code)
    return grade_submission(key, notebook, seed="secret/one", sandbox=sandbox)


def test_a_crash_in_one_part_leaves_the_other_its_points(graded):
    verdicts = {v.exercise: v for v in graded.verdicts}
    halves = verdicts["halves"]
    assert (halves.status, halves.points) == ("failed", 2.0)
    assert halves.message.startswith("2 of 3 points, for decode. encode: while this exercise ran,")
    assert halves.parts == [
        {"part": "encode", "points": 0.0, "max_points": 1.0},
        {"part": "decode", "points": 2.0, "max_points": 2.0},
    ]
    assert verdicts["share"].status == "crashed" and verdicts["centre"].status == "failed"
    told = {v["exercise"]: v for v in graded.notebook.metadata["labsupport_grading"]["verdicts"]}
    assert (told["halves"]["cause"], told["share"]["cause"]) == ("died", "died")
    assert told["centre"]["cause"] == "not what is right" and told["centre"]["hint"] == ""
    place = next(c for c in graded.notebook.cells if c.id == "judge-halves")
    assert place.outputs[0].data["text/plain"] == "2"
    assert "2 of 3 points" in place.outputs[0].data["text/html"]


def test_a_graded_notebook_and_its_feedback_hold_no_expected_value(key, graded):
    from nbconvert import HTMLExporter

    text = dump(graded.notebook)
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(graded.notebook)
    for exercise in ("centre", "count", "halves"):
        challenge = key.challenge(exercise, "secret/one")
        for answer in key.expected(challenge):
            assert answer["answer"] not in text
            for value in values_of(decode(answer["answer"])):
                if len(value) >= 5:  # "0.5" may well be a version's number
                    assert value not in text and value not in page
        assert json.dumps(challenge.text)[1:60] not in text


def test_provenance_says_what_a_grade_was_made_of(key, graded):
    about = graded.provenance
    assert about["seconds"] > 0 and isinstance(about["sandbox"], bool) and about["deaths"]
    assert {"lab", "python", "torch", "numpy", "labsupport", "nbgrader", "profile"} <= set(about)
    assert re.fullmatch("[0-9a-f]{16}", about["seed"]) and "secret" not in json.dumps(about)
    assert nbformat.from_dict(graded.notebook).metadata["labsupport_grading"]["provenance"] == about


@pytest.mark.parametrize(
    ("kind", "status", "cause"),
    [
        ("memory", "out of memory", "memory"),
        ("time", "crashed", "time"),
        ("output", "crashed", "died"),
        ("died", "crashed", "died"),
    ],
)
def test_how_a_kernel_died_is_no_matter_of_words(key, kind, status, cause):
    challenges = key.challenges("count", "a")
    run = Execution(new_notebook(cells=[new_code_cell()]), deaths={0: Death(kind, "9 MB (of 8)")})
    verdict = questions.verdict_of(key, run, "count", challenges, [[0]])
    assert (verdict.status, verdict.cause) == (status, cause)
    assert verdict.message == "while this exercise ran, 9 MB (of 8)"


PARTS = [
    (
        "encode",
        "def encode(x):\n    return 2 * x + 1\n\ndef decode(y):\n    return y",
        1,
        "1 of 3 points, for encode. decode, 3 numbers: the values of numbers differ.",
    ),
    (
        "decode",
        "def encode(x):\n    raise ValueError('no')\n\ndef decode(y):\n    return (y - 1) / 2",
        2,
        "2 of 3 points, for decode. encode, 3 numbers: ValueError: no",
    ),
    (
        "one stub",
        "def encode(x):\n    raise NotImplementedError\n\ndef decode(y):\n    return (y - 1) / 2",
        2,
        "encode: not implemented yet.",
    ),
    (
        "one missing",
        "def decode(y):\n    return (y - 1) / 2",
        2,
        "encode: encode is not defined in the notebook.",
    ),
    (
        "a known mistake",
        "def encode(x):\n    return 2 * x\n\ndef decode(y):\n    return (y - 1) / 2",
        2,
        "the values of numbers differ. Your numbers equal what you get when the 1 is forgotten.",
    ),
]


@pytest.mark.parametrize(("kind", "code", "points", "words"), PARTS)
def test_each_part_earns_its_points_by_itself(key, kind, code, points, words):
    _, verdict = verdict_of(key, "halves", code)
    assert (verdict.status, verdict.points) == ("failed", points)
    assert words in verdict.message
    assert (verdict.cause == "known mistake") == bool(verdict.hint) == (kind == "a known mistake")


def test_nothing_solved_is_nothing_earned_and_a_forgery_forfeits_all_parts(key):
    stubs = "def encode(x):\n    raise NotImplementedError\n\ndecode = encode"
    _, verdict = verdict_of(key, "halves", stubs)
    assert (verdict.status, verdict.points, verdict.message) == (
        "missing",
        0,
        "not implemented yet",
    )
    right = key.lab.one("exercise", "halves").source
    challenge = key.challenge("halves", "a")
    message = decode(challenge.text)
    names = {}
    exec(right, names)
    answers = answer_cases(
        make_driver(message["driver"], "halves"), LabNamespace(names), message["cases"]
    )
    assert key.verdict(challenge, {"nonce": challenge.nonce, "answers": answers}).points == 3
    for forged in ({"answer": "{}"}, 3, {"error": "passed"}, {"error": ["raised"]}):
        response = {"nonce": challenge.nonce, "answers": [*answers[:3], forged]}
        verdict = key.verdict(challenge, response)
        assert (verdict.status, verdict.points) == ("tampered", 0)


def test_a_part_is_asked_by_itself_and_the_same_things(key):
    whole, parts = key.challenge("halves", "a"), key.challenges("halves", "a")
    assert [len(c.cases) for c in parts] == [2, 2] and len(whole.cases) == 4
    assert len({c.nonce for c in [whole, *parts]}) == 3
    assert torch.equal(parts[1].cases[1].inputs["y"], whole.cases[3].inputs["y"])
    assert "encode" not in parts[1].text.split('"cases"')[1]


def test_the_student_is_told_what_the_parts_are(key):
    cell = next(c for c in student_notebook(key.lab).cells if c.id == "judge-halves")
    assert cell.source.startswith("# Graded here: halves, 3 points (encode 1, decode 2). When")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            '{"encode": 1, "decode": 2}',
            '{"encode": 1, "decode": 1}',
            "the parts of judge 'halves' make 2 points, its marker says 3",
        ),
        ('{"encode": 1, "decode": 2}', '{"encode": 3}', "parts is not a dict of names and points"),
        ('{"encode": 1, "decode": 2}', "dict(encode=1, decode=2)", "write it out"),
    ],
)
def test_wrong_parts_are_refused_with_their_line(old, new, words):
    text = FORMS.read_text()
    assert old in text
    with pytest.raises(SourceError, match=re.escape(words)):
        parse_lab(text.replace(old, new), FORMS)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('part="decode"', 'part="decoder"', "unknown part"),
        ('part="decode", y', 'part="encode", y', "no case of the part 'decode'"),
    ],
)
def test_cases_of_no_part_are_refused(old, new, words):
    key = AnswerKey(parse_lab(FORMS.read_text().replace(old, new), FORMS))
    with pytest.raises(ValueError, match=words):
        key.challenge("halves", "a")
