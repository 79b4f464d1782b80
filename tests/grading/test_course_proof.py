"""A lab whose own solution does not pass is neither released nor graded, and blames nobody."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labsupport.answers.respond import LabNamespace
from labsupport.cli import app
from labsupport.course.build import dump, student_notebook
from labsupport.course.source import parse_lab
from labsupport.errors import CourseError
from labsupport.grading.demo import ON_TIME, solve, submit
from labsupport.grading.judging.judge import AnswerKey, JudgeError
from labsupport.grading.judging.lab_code import namespace_of
from labsupport.grading.judging.proof import failures
from labsupport.grading.ledger import proof
from labsupport.grading.ledger.course_directory import init_course, release
from labsupport.grading.ledger.grades import export, grade_course
from labsupport.grading.ledger.proof import proofs

STEM = "90_mini"
DRIVE = "def drive(lab, x):"
BROKEN = {  # what is changed in the lab -> what is said
    "the driver takes no such argument": (
        'yield Case("four numbers", x=randn(rng, 4))',
        'yield Case("four numbers", **{"x": randn(rng, 4), "y": 1})',
        "the judge of twice fails on the lab's own solution too (four numbers: it cannot be called "
        "as the exercise says (TypeError: drive() got an unexpected keyword argument 'y'))",
    ),
    "the driver asks for a name that is nowhere": (
        "lab.twice(x)",
        "lab.double(x)",
        "the judge of twice fails on the lab's own solution too (four numbers: double)",
    ),
    "asking raises": (
        "for n in (1, 5):",
        "for n in (1, 5 // 0):",
        "the judge of scale fails to ask: ZeroDivisionError: ",
    ),
    "the comparison takes nothing": (
        DRIVE,
        f"def accept(answer, expected):\n    return 'too large'\n\n{DRIVE}",
        "the judge of twice refuses the lab's own solution too (four numbers: too large)",
    ),
    "the comparison raises": (
        DRIVE,
        f"def accept(answer, expected):\n    return answer.shape == ()\n\n{DRIVE}",
        "the judge of twice refuses the lab's own solution too (four numbers: the result is not",
    ),
    "the solution does not run": (
        "import torch\n",
        "import torch\nimport no_such_package\n",
        "the lab's own solution does not run: ModuleNotFoundError: No module named 'no_such",
    ),
    "it asks nothing": ("for n in (1, 5):", "for n in ():", "the judge of scale asks nothing"),
    "it never calls the exercise": (
        '"output": lab.twice(x)',
        '"output": 2 * x',
        "the judge of twice passes a notebook that lacks twice",
    ),
    "the solution is drawn at random": (
        "return scale(x, 2.0)",
        "return scale(x, 2.0) + torch.rand(())",
        "the judge of twice refuses the lab's own solution: four numbers: ",
    ),
    "the check refuses": (
        "tolist() == [2, 2]",
        "tolist() == [2, 3]",
        "the check of twice refuses the lab's own solution: AssertionError",
    ),
    "the check does not run": (
        "assert twice(torch.ones(2))",
        "assert twise(torch.ones(2))",
        "the check of twice refuses the lab's own solution: NameError: name 'twise'",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_broken_is_named_with_lab_exercise_and_reason(how, mini_path):
    old, new, said = BROKEN[how]
    text = mini_path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    reasons = failures(parse_lab(text.replace(old, new), Path(f"{STEM}.py")))
    assert len(reasons) == 1
    assert reasons[0].startswith(f"{STEM}: {said}") and "\n" not in reasons[0]


def test_a_sound_lab_has_no_failures(mini):
    assert failures(mini) == []


def test_a_solution_that_takes_longer_than_a_submission_may_is_refused(mini_path):
    text = mini_path.read_text(encoding="utf-8")
    slow = "end = time.process_time() + 1\n    while time.process_time() < end:\n        pass\n    "
    text = text.replace("import torch\n", "import time\n\nimport torch\n", 1)
    text = text.replace("return scale(x, 2.0)", f"{slow}return scale(x, 2.0)")
    (reason,) = failures(parse_lab(text, Path(f"{STEM}.py")), cell_seconds=0.5)
    assert "the judge of twice takes" in reason and "and a submission has 0.5 s" in reason


def test_a_check_may_need_what_a_demonstration_defines(mini_path):
    text = mini_path.read_text(encoding="utf-8")
    text = text.replace('# %% exercise="twice"', '# %%\nwanted = [2, 2]\n\n# %% exercise="twice"')
    text = text.replace("tolist() == [2, 2]", "tolist() == wanted")
    assert failures(parse_lab(text, Path(f"{STEM}.py"))) == []


def test_a_driver_that_imports_what_is_hidden_is_refused(mini_path):
    text = mini_path.read_text(encoding="utf-8")
    text = text.replace("# lab:\n", '# lab:\n#   masks: ["models/vit.py"]\n')
    text = text.replace(DRIVE, f"{DRIVE}\n    from labsupport.models import vit")
    (reason,) = failures(parse_lab(text, Path(f"{STEM}.py")))
    assert "drive imports labsupport.models.vit, which is hidden" in reason


@pytest.mark.parametrize(
    "how", ["the driver takes no such argument", "the comparison takes nothing", "asking raises"]
)
def test_while_grading_a_broken_judge_gives_no_verdict(how, mini_path):
    """A judge may fail for one student's inputs only: that leaves the grade open."""
    old, new, said = BROKEN[how]
    text = mini_path.read_text(encoding="utf-8").replace(old, new)
    key = AnswerKey(parse_lab(text, Path(f"{STEM}.py")))
    name = "scale" if "scale" in said else "twice"
    wrong = {"error": "unusable", "text": "it cannot be called as the exercise says"}
    with pytest.raises(JudgeError) as caught:
        challenge = key.challenge(name, "a student")
        key.findings(challenge, {"nonce": challenge.nonce, "answers": [wrong]})
    assert said in str(caught.value)


def test_a_wrong_answer_to_a_sound_judge_is_wrong_as_before(mini):
    key = AnswerKey(mini)
    challenge = key.challenge("twice", "a student")
    names = namespace_of(mini, {"twice": "def twice(x):\n    return x * x"})
    answers = key.judge("twice").answers(LabNamespace(names), challenge.cases)
    (found,) = key.findings(challenge, {"nonce": challenge.nonce, "answers": answers})
    assert found.status == "failed" and "squared" in found.hint


@pytest.fixture
def course(tmp_path, mini_path):
    return init_course(tmp_path / "mini", mini_path.parent)


def break_it(course, how):
    path = course / "labs" / f"{STEM}.py"
    old, new, said = BROKEN[how]
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return said


def test_release_refuses_in_one_line_and_once_proven_costs_nothing(course, monkeypatch):
    whole = (course / "labs" / f"{STEM}.py").read_text(encoding="utf-8")
    said = break_it(course, "the driver takes no such argument")
    result = CliRunner().invoke(app, ["course", "release", str(course)])
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert f"{STEM}: {said}" in line and f"mend {course / 'labs'}, then run again" in line
    assert not (course / "release").exists() or not any((course / "release").iterdir())
    (course / "labs" / f"{STEM}.py").write_text(whole, encoding="utf-8")
    release(course)
    monkeypatch.setattr(proof, "_Process", None)  # none may be started again
    release(course)
    path = course / "labs" / f"{STEM}.py"
    path.write_text(whole.replace("It has every kind", "It has each kind"), encoding="utf-8")
    release(course)  # prose proves nothing


def test_a_script_that_releases_is_not_run_twice(course, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from labsupport.grading.ledger.course_directory import release\n"
        "print('begun')\nprint(len(release(Path(sys.argv[1]))))\n"
    )
    words = [sys.executable, str(script), str(course)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n1\n", "")


def test_a_proof_that_hangs_or_dies_is_a_failure(course, monkeypatch):
    path = course / "labs" / f"{STEM}.py"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace("for n in (1, 5):", "while True:\n        n = 1"))
    monkeypatch.setattr(proof, "PROOF_SECONDS", 5)
    with proofs(course, [path]) as proven, pytest.raises(CourseError, match="took more than 5 s"):
        proven.wait()
    monkeypatch.setattr(proof, "PROOF_SECONDS", 600)
    path.write_text(
        whole.replace("for n in (1, 5):", "import os\n    os._exit(1)\n    for n in (1,):")
    )
    with proofs(course, [path]) as proven, pytest.raises(CourseError, match="the process died"):
        proven.wait()
    assert not list((course / ".labs").rglob("*"))


def test_grade_refuses_before_anything_is_recorded(course, mini, monkeypatch):
    release(course)
    submit(course, "ada", STEM, dump(solve(student_notebook(mini), mini)), ON_TIME)
    said = break_it(course, "the comparison takes nothing")

    def perform_all(tasks, jobs, scheduler):
        for label, _ in tasks:
            yield label, "{}"  # never looked at

    monkeypatch.setattr("labsupport.grading.ledger.grades.perform_all", perform_all)
    result = CliRunner().invoke(app, ["grade", str(course), "--no-sandbox"])
    assert result.exit_code == 1
    assert f"{STEM}: {said}" in result.output.splitlines()[-1]
    assert not (course / "autograded").exists() and not (course / ".labs" / "results").exists()


def test_a_judge_that_fails_for_one_students_inputs_leaves_that_grade_open(
    course, mini, monkeypatch
):
    release(course)
    submit(course, "ada", STEM, dump(solve(student_notebook(mini), mini)), ON_TIME)
    fails = f"{STEM}: the judge of twice fails on the lab's own solution too (four numbers: x)"

    def perform_all(tasks, jobs, scheduler):
        for label, _ in tasks:
            yield label, JudgeError(fails)

    monkeypatch.setattr("labsupport.grading.ledger.grades.perform_all", perform_all)
    (row,) = grade_course(course, sandbox=False)
    assert row.error == f"JudgeError: {fails}"
    with export(course).open(encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert line["score"] == "" and "no student's fault" not in line.values()
    assert not (course / "feedback").exists()
