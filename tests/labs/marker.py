"""One lab's answers, marked as a student's are: by its judges, and by its visible checks."""

import contextlib
import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from labsupport.answers.respond import LabNamespace, answer_cases, make_driver
from labsupport.answers.wire import decode
from labsupport.course.lab import solution_code
from labsupport.course.source import find_labs, read_lab
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.judging.lab_code import namespace_of
from labsupport.notebook.failures import CheckFailed
from tests.conftest import ROOT

SEEDS = ("by hand", "another")


class Marker:
    """Judges and checks answers to the lab with a number, "01"."""

    def __init__(self, number):
        self.lab = read_lab(find_labs(ROOT / "solutions", [number])[0])
        self.key = AnswerKey(self.lab)
        self._challenges = {}

    @property
    def names(self):
        """The solved notebook's names, made anew at each use: no test sees another's changes."""
        return namespace_of(self.lab)

    def solution(self, exercise):
        """The code that solves an exercise."""
        return solution_code(self.lab.one("exercise", exercise).source) + "\n"

    def answered(self, exercise, *changes):
        """The notebook's names with (old text, new text) changed in the solution of an exercise.

        An old text of "" stands for all of it.
        """
        code = self.solution(exercise)
        for old, new in changes:
            assert old in code, f"{exercise}: {old}"
            code = code.replace(old, new) if old else new
        return namespace_of(self.lab, {exercise: code})

    def alone(self, exercise):
        """The names with an exercise solved and none before it: what those define is None."""
        names = self.names
        for earlier in self.lab.exercises[: self.lab.exercises.index(exercise)]:
            made = {}
            exec(self.solution(earlier), self.names, made)
            names |= dict.fromkeys(made)
        exec(self.solution(exercise), names)
        return names

    def verdict(self, exercise, names, seed=SEEDS[0]):
        """The verdict on an exercise, asked with the inputs that a seed gives."""
        if (exercise, seed) not in self._challenges:
            self._challenges[exercise, seed] = self.key.challenge(exercise, seed)
        challenge = self._challenges[exercise, seed]
        message = decode(challenge.text)
        driver = make_driver(message["driver"], exercise)
        answers = answer_cases(driver, LabNamespace(names), message["cases"])
        return self.key.verdict(challenge, {"nonce": message["nonce"], "answers": answers})

    def check(self, exercise, names):
        """What the visible check of an exercise says in a notebook, "" where it is green."""
        source = self.lab.one("check", exercise).source
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source, f"<check of {exercise}>", "exec"), names)
        except CheckFailed as failed:
            return str(failed)
        finally:
            plt.close("all")
        return ""

    def accepts(self, exercise, names, seeds=SEEDS[:1]):
        """Assert that an answer keeps all points with every seed and is green."""
        for seed in seeds:
            verdict = self.verdict(exercise, names, seed)
            assert verdict.status == "passed", verdict.message
        said = self.check(exercise, names)
        assert said == "", said

    def refuses(self, exercise, names, kept, seeds=SEEDS[:1]):
        """Assert that an answer keeps these points with every seed (None: however many) and is
        red; the verdicts are returned for what they say."""
        verdicts = [self.verdict(exercise, names, seed) for seed in seeds]
        for verdict in verdicts:
            assert verdict.status in ("failed", "error"), verdict.status
            assert kept in (None, verdict.points), f"{verdict.points}: {verdict.message}"
        assert self.check(exercise, names) != "", "the check is green"
        return verdicts


def ids(rows):
    """Names of the tests of a table, whose rows begin with the exercise and what it is."""
    return [f"{row[0]}: {row[1]}" for row in rows]
