"""What a grading command begins at once, and what it never imports."""

import os
import subprocess
import sys

import pytest

from labsupport.cli.beginning import begin, first_to_grade
from labsupport.errors import SandboxError
from labsupport.grading.workers import forks, warmth

# a grade of one submission, from the command to its table, but for what workers and pages do
HANDING_OUT = (
    "labsupport.cli.grade",
    "labsupport.cli.demo",
    "labsupport.grading.demo",
    "labsupport.grading.ledger.grades",
    "labsupport.grading.ledger.pages",
    "labsupport.grading.running.sandbox.warm",
    "labsupport.grading.workers.warmth",
    "labsupport.files",
)


@pytest.mark.parametrize("heavy", ["torch", "matplotlib", "papermill"])
def test_who_hands_out_and_records_imports_nothing_of_who_grades(heavy):
    code = f"import sys, {', '.join(HANDING_OUT)}; print({heavy!r} in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.fixture
def course(tmp_path):
    (tmp_path / "labs").mkdir()
    for lab in ("01_a", "02_b"):
        (tmp_path / "labs" / f"{lab}.py").touch()
        for student in ("ada", "bob"):
            write(tmp_path / "submitted" / student / lab / f"{lab}.ipynb", 100)
    return tmp_path


def write(path, when):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (when, when))


def graded(course, student, lab, when=200):
    write(course / "autograded" / student / lab / f"{lab}.ipynb", when)


def first(course, labs=None, students=None, again=False):
    found = first_to_grade(course, labs, students, again)
    return found and found.stem


def test_the_first_lab_with_something_to_grade(course):
    assert first(course) == "01_a"
    assert first(course, ["02"]) == first(course, ["02_b"]) == "02_b"
    graded(course, "ada", "01_a")
    assert first(course) == "01_a" and first(course, students=["ada"]) == "02_b"
    graded(course, "bob", "01_a")
    assert first(course) == "02_b" and first(course, ["01"]) is None
    assert first(course, ["01"], again=True) == "01_a"
    graded(course, "bob", "01_a", when=50)  # handed in anew
    assert first(course, ["01"]) == "01_a"
    assert first(course / "nowhere") is None


def test_both_processes_are_begun_for_a_lab_and_none_for_nothing(mini_path, monkeypatch, tmp_path):
    begun = []
    monkeypatch.setattr(forks, "prepare_workers", lambda: begun.append("workers"))
    monkeypatch.setattr(warmth, "warmed", begun.append)
    begin(None)
    assert not begun
    begin(mini_path, sandbox=False)
    text = mini_path.read_text(encoding="utf-8")
    assert begun == ["workers", warmth.needs_of(mini_path.stem, text, False)]
    broken = tmp_path / "01_broken.py"
    broken.write_text("# %% judge\nno header")
    begin(broken)  # the command says what is wrong
    begin(tmp_path / "02_gone.py")
    assert begun[2:] == ["workers", "workers"]

    def missing(needs):
        begun.append(needs)
        raise SandboxError("bubblewrap is missing")

    monkeypatch.setattr(warmth, "warmed", missing)
    begin(mini_path)
    assert begun[-1].walled
