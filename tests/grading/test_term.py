"""A term of six weeks on the small lab, through the commands an instructor types."""

import csv
import datetime
import os
import re
import shutil
import subprocess
import sys

import pytest
from nbgrader.api import Gradebook
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab
from labsupport.grading.demo import solve, submit, without_diagnosis
from labsupport.grading.ledger import grades as course_grades
from labsupport.grading.ledger.standing import standings

STEM = "90_mini"
DUE = datetime.datetime(2026, 2, 6, 23, 59)
DAY = datetime.timedelta(days=1)
SANDBOX = () if shutil.which("bwrap") else ("--no-sandbox",)


class Term:
    """A course, the commands on it, and what each ``labs grade`` had to execute."""

    def __init__(self, folder, mini_path):
        self.folder, self.ran = folder, []
        lab = read_lab(mini_path)
        empty = student_notebook(lab)
        adds = without_diagnosis(lab.one("trap", "scale").source)
        self.blank, self.right = dump(empty), dump(solve(empty, lab))
        self.adds = dump(solve(empty, lab, {"scale": adds}))

    def labs(self, command, *words):
        told = [*command.split(), str(self.folder), *map(str, words)]
        return CliRunner().invoke(app, told)

    def grade(self, *words):
        """What ``labs grade`` printed, each row of its table and each note on one line."""
        self.ran.clear()
        result = self.labs("grade", "--jobs", "2", *SANDBOX, *words)
        assert result.exit_code in (0, 2), result.output
        return result.output

    def hand_in(self, student, text, when=DUE - DAY):
        submit(self.folder, student, STEM, text, when)

    def by_hand(self, points, *students):
        """As formgrader writes it."""
        with self.book() as book:
            for student in students:
                grade = book.find_grade("answer-why", STEM, STEM, student)
                grade.manual_score, grade.needs_manual_grade = points, False
            book.db.commit()

    def book(self):
        return Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}")

    def table(self):
        with (self.folder / "grades.csv").open(encoding="utf-8", newline="") as file:
            return {line["student_id"]: line for line in csv.DictReader(file)}

    def scores(self):
        """(score, of) by student in grades.csv, which the gradebook and the report agree with."""
        table = self.table()
        standing = {one.student: one for one in standings(self.folder)}
        assert {s: line["score"] for s, line in table.items()} == {
            s: "" if one.score is None else str(one.score) for s, one in standing.items()
        }
        return {s: (line["score"], float(line["max_score"])) for s, line in table.items()}

    def pages(self):
        return {
            path.parent.parent.name: (path.stat().st_mtime_ns, path.read_text(encoding="utf-8"))
            for path in (self.folder / "feedback").glob(f"*/{STEM}/{STEM}.html")
        }

    def edit(self, *changes):
        path = self.folder / "labs" / f"{STEM}.py"
        text = path.read_text()
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        path.write_text(text)

    def configure(self, line):
        with (self.folder / "nbgrader_config.py").open("a") as file:
            file.write(f"\n{line}\n")


@pytest.fixture(scope="module")
def term(mini_path, tmp_path_factory):
    term = Term(tmp_path_factory.mktemp("term") / "mini", mini_path)
    spread = course_grades.perform_all

    def perform_all(tasks, *about):
        def told():
            for label, task in tasks:
                term.ran.append(label[1])
                yield label, task

        yield from spread(told(), *about)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course_grades, "perform_all", perform_all)
        yield term


def row(output, student):
    """A row of the table, with single spaces."""
    (line,) = (line for line in output.splitlines() if re.match(rf"\s*90\s+{student}\s", line))
    return " ".join(line.split())


def test_a_term_of_six_weeks(term, mini_path):
    # --- week 1: the course, the lab, the class list; eve is given two days more at once
    shutil.copy(mini_path, term.folder.parent / mini_path.name)
    from labsupport.grading.ledger.course_directory import init_course

    init_course(term.folder, mini_path.parent)
    assert term.labs("course release").exit_code == 0
    assert "is due 2026-02-06 23:59 UTC" in term.labs("course due", "90", "2026-02-06 23:59").output
    with term.book() as book:
        for student in ("ada", "bob", "cleo", "dan", "eve", "fay"):
            book.add_student(student, first_name=student.title(), last_name="Doe, jr")
    given = term.labs("course extend", "eve", "90", "--hours", "48")
    assert "eve has until 2026-02-08 23:59 UTC" in given.output

    # --- week 2: hand-ins, of which one is late, one blank and one an upload cut short
    term.hand_in("ada", term.right)
    term.hand_in("bob", term.right, DUE + 2 * DAY)
    term.hand_in("cleo", term.adds)
    term.hand_in("dan", term.blank, DUE + datetime.timedelta(seconds=78))
    term.hand_in("fay", term.right[: len(term.right) // 2])
    said = term.grade()
    assert sorted(term.ran) == ["ada", "bob", "cleo", "dan"]
    assert row(said, "bob") == "90 bob 3.5 of 4.5 48 h 1 wait"
    assert row(said, "dan").startswith("90 dan 0 of 4.5 1 min")
    assert row(said, "fay").startswith("90 fay - of 4.5 90_mini.ipynb is damaged")
    table = term.table()
    assert {s: (line["score"], line["state"]) for s, line in table.items()} == {
        "ada": ("3.5", "waiting"),
        "bob": ("3.5", "waiting"),
        "cleo": ("1.5", "waiting"),
        "dan": ("0.0", "graded"),
        "eve": ("", "not handed in"),
        "fay": ("", "unreadable"),
    }
    assert table["ada"]["reason"] == "1 answer to grade by hand" and table["ada"]["waiting"] == "1"
    assert table["dan"]["reason"] == "nothing was filled in"
    assert "damaged" in table["fay"]["reason"] and table["eve"]["raw_score"] == ""
    assert table["ada"]["last_name"] == "Doe, jr" and table["ada"]["first_name"] == "Ada"

    # cleo hands in again, eve within her two days, fay the whole file: only they are run
    term.hand_in("cleo", term.right, DUE - DAY / 2)
    term.hand_in("eve", term.right, DUE + 1.5 * DAY)
    term.hand_in("fay", term.right)
    said = term.grade()
    assert sorted(term.ran) == ["cleo", "eve", "fay"]
    assert row(said, "eve") == "90 eve 3.5 of 4.5 1 wait"  # not late
    assert term.table()["fay"]["state"] == "waiting"

    # --- week 3: written answers are graded, and only then a late policy is set
    term.by_hand(1, "ada", "bob", "cleo", "eve", "fay")
    term.grade()
    assert set(term.scores().values()) == {("4.5", 4.5), ("0.0", 4.5)}
    pages = term.pages()
    term.configure('c.LateSubmissionPlugin.penalty_method = "zero"')
    said = term.grade()
    assert row(said, "bob") == "90 bob 0 of 4.5 48 h 4.5" and term.ran == []
    assert term.scores()["bob"] == ("0.0", 4.5) and term.table()["bob"]["raw_score"] == "4.5"
    assert term.scores()["ada"] == ("4.5", 4.5)
    changed = {s for s, page in term.pages().items() if page != pages[s]}
    assert changed == {"bob"}  # dan's penalty is 0 of 0

    # bob was ill: three days
    assert term.labs("course extend", "bob", "90", "--hours", "72").exit_code == 0
    assert row(term.grade(), "bob") == "90 bob 4.5 of 4.5" and term.ran == []
    assert term.scores()["bob"] == ("4.5", 4.5) and term.table()["bob"]["late"] == ""
    report = term.labs("report")
    assert "0 late" not in report.output and "1 late" in report.output  # dan

    # --- week 4: cleo need not do twice
    assert "leaves score and maximum" in term.labs("course exempt", "cleo", "90", "twice").output
    term.grade()
    assert term.scores()["cleo"] == ("3.0", 3.0) and term.scores()["ada"] == ("4.5", 4.5)
    assert "exempt" in term.pages()["cleo"][1]
    with term.book() as book:
        assert book.find_submission(STEM, "cleo").score == 3.0  # nbgrader's exporter: 3 of 4.5

    # points change in labs/: nothing is graded before they are released
    term.edit(
        (" points=2\n", " points=4\n"), ('question="why" points=1\n', 'question="why" points=2\n')
    )
    refused = term.labs("grade", *SANDBOX)
    assert refused.exit_code == 1 and "labs course release DIR 90" in refused.output
    assert len(refused.output.splitlines()) == 1
    released = term.labs("course release")
    assert released.exit_code == 0 and "5 hand grades with it" in released.output
    between = {one.score for one in standings(term.folder)}  # never 4.5 of 7.5, nor 5.5 of 4.5
    assert between == {None}
    said = term.grade()
    assert term.ran == [] and term.scores() == {
        "ada": ("7.5", 7.5),
        "bob": ("7.5", 7.5),
        "cleo": ("6.0", 6.0),
        "dan": ("0.0", 7.5),
        "eve": ("7.5", 7.5),
        "fay": ("7.5", 7.5),
    }
    assert "4 of 4 points" in term.pages()["ada"][1]

    # twice turns out to be unfair: it counts for nobody
    term.edit(("points=1.5", "points=0"))
    assert term.labs("course release").exit_code == 0
    term.grade()
    assert term.ran == []
    assert set(term.scores().values()) == {("6.0", 6.0), ("0.0", 6.0)}

    # --- week 5: the assistant grades on another machine's account, with the same course
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    assistant = subprocess.run(
        [sys.executable, "-m", "labsupport.cli", "grade", str(term.folder), *SANDBOX],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert assistant.returncode == 0, assistant.stderr
    assert "grading" not in assistant.stderr and "wait" not in assistant.stdout
    before = term.scores()
    said = term.grade("90", "--student", "ada", "--again")
    assert term.ran == ["ada"] and "wait" not in said and term.scores() == before

    # --- week 6: grades go back
    assert term.labs("report").exit_code == 0
    assert term.labs("export", "--gradescope").exit_code == 0
    with (term.folder / "export" / "gradescope.csv").open(encoding="utf-8", newline="") as file:
        given = {line["SID"]: line[STEM] for line in csv.DictReader(file)}
    assert given == {s: f"{float(score):g}" for s, (score, _) in before.items()}
