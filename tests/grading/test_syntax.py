"""Code that Python cannot read is an error, with its line, and no blank."""

import pytest

from labsupport.course.build import student_notebook
from labsupport.grading.demo import solve
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.submission.submission import grade_submission

FORMS = {
    "syntax": (
        "def scale(x, factor):\n    y = x\n    return y *",
        "SyntaxError: invalid syntax (line 3 of its cell: return y *)",
    ),
    "indentation": (
        "def scale(x, factor):\nreturn x",
        "IndentationError: expected an indented block",
    ),
    "a bracket": (
        "def scale(x, factor):\n    return (x",
        "SyntaxError: incomplete input (line 2 of its cell: return (x)",
    ),
}


@pytest.fixture(scope="module")
def verdicts(mini_path):
    from labsupport.course.source import read_lab

    lab = read_lab(mini_path)
    key, empty = AnswerKey(lab), student_notebook(lab)
    found = {}
    for name, (code, _) in FORMS.items():
        graded = grade_submission(key, solve(empty, lab, {"scale": code}), seed="a")
        found[name] = {v.exercise: v for v in graded.verdicts}
    found["blank"] = {v.exercise: v for v in grade_submission(key, empty, seed="a").verdicts}
    return found


@pytest.mark.parametrize("form", FORMS)
def test_it_is_an_error_with_its_line(verdicts, form):
    verdict = verdicts[form]["scale"]
    assert (verdict.status, verdict.cause, verdict.points) == ("error", "raised", 0)
    assert FORMS[form][1] in verdict.message and "\n" not in verdict.message
    assert verdicts[form]["twice"].status == "passed"  # a stand-in is there for the other


def test_a_blank_is_missing_as_before(verdicts):
    verdict = verdicts["blank"]["scale"]
    assert (verdict.status, verdict.cause) == ("missing", "not solved")
