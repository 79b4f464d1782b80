"""The answer key of a lab, the trusted half of grading: what to ask, what is right, and what a
wrong answer means.

A judge cell defines ``ask(rng)``, which yields cases, and optionally ``drive(lab, **inputs)``,
``tolerance``, ``accept(answer, expected)`` and ``parts``, points by part of the exercise. Only
``drive``, with the names it refers to, and the inputs ever travel to a student's process. What is
right comes from running the same driver on the lab's own solution; what a wrong answer means, from
running it on the lab's traps.
"""

import contextlib
import hashlib
import uuid
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NoReturn

import numpy as np

from labsupport.answers.findings import Cause, Finding, Status, finding
from labsupport.answers.mistakes import Mistake, explain
from labsupport.answers.respond import LabNamespace
from labsupport.answers.wire import encode
from labsupport.course.lab import Lab
from labsupport.errors import LabError
from labsupport.grading.judging.cases import Case
from labsupport.grading.judging.diagnosis import Catalogue
from labsupport.grading.judging.lab_code import Judge, namespace_of, read_judge
from labsupport.grading.judging.verdicts import Challenge, Verdict, score


class JudgeError(LabError, ValueError):
    """A judge that fails on the lab's own solution: no student's fault, and no grade."""


class AnswerKey:
    """A lab's judges, run against its solution in this process. Build once, use for a class."""

    def __init__(self, lab: Lab):
        self.lab = lab
        with self._ours("the lab's own solution does not run"):
            self._solution = LabNamespace(namespace_of(lab))
        self._judges = {}
        for cell in lab.of("judge"):
            with self._ours(f"the judge of {cell.name} does not run"):
                self._judges[cell.name] = read_judge(cell)
        self._catalogue = Catalogue(lab)
        self._proven: set[str] = set()  # challenges of which the comparison takes what is right

    def challenge(self, exercise: str, seed: str) -> Challenge:
        """Make the inputs for one student; the same seed gives the same inputs."""
        return self._ask(exercise, self._cases(exercise, seed))

    def challenges(self, exercise: str, seed: str) -> list[Challenge]:
        """The same inputs, part by part, so that one part's crash leaves the others alone."""
        cases = self._cases(exercise, seed)
        parts = self._judges[exercise].parts or [""]
        return [self._ask(exercise, [c for c in cases if c.part == part]) for part in parts]

    def verdict(self, challenge: Challenge, response: dict | None) -> Verdict:
        """Judge a response bundle ``{"nonce", "answers"}``; None means that there was none."""
        return self.score(challenge.exercise, self.findings(challenge, response))

    def unanswered(
        self, challenge: Challenge, status: Status, cause: Cause, message: str
    ) -> Verdict:
        """A verdict for an exercise whose cell never got to answer."""
        return self.score(challenge.exercise, self.all_cases(challenge, status, cause, message))

    def score(self, exercise: str, findings: Iterable[Finding]) -> Verdict:
        """The verdict on an exercise by the findings of all its challenges."""
        return score(self.lab.one("judge", exercise), findings)

    def findings(self, challenge: Challenge, response: dict | None) -> list[Finding]:
        """What a response bundle is worth, case by case."""
        answers = (response or {}).get("answers")
        if response is None:
            silent = "the graded cell gave no response"
            return self.all_cases(challenge, "missing", "no response", silent)
        if response.get("nonce") != challenge.nonce or not isinstance(answers, list):
            foreign = "the response is not the grader's own"
            return self.all_cases(challenge, "tampered", "forged", foreign)
        if len(answers) != len(challenge.cases):
            return self.all_cases(challenge, "tampered", "forged", "the response lacks cases")
        judge, expected = self._judges[challenge.exercise], self.expected(challenge)
        found = [
            finding(case.name, case.part, answer, right, judge.rules)
            for case, answer, right in zip(challenge.cases, answers, expected, strict=True)
        ]
        right = all(one.status == "passed" for one in found)
        if not right and challenge.nonce not in self._proven:
            self._see_that_the_solution_passes(challenge)
        return explain(found, judge.rules, partial(self.mistakes, challenge))

    def judge(self, exercise: str) -> Judge:
        """The judge of an exercise."""
        return self._judges[exercise]

    def mistakes(self, challenge: Challenge) -> Iterator[Mistake]:
        """The known mistakes of the exercise, with their answers to a challenge."""
        return self._catalogue.mistakes(self._judges[challenge.exercise], challenge.cases)

    def all_cases(
        self, challenge: Challenge, status: Status, cause: Cause, message: str
    ) -> list[Finding]:
        """Findings for a challenge that has no answers to look at."""
        return [Finding(case.part, status, cause, message) for case in challenge.cases]

    def _ask(self, exercise: str, cases: list[Case]) -> Challenge:
        judge, nonce = self._judges[exercise], uuid.uuid4().hex
        with self._ours(f"the judge of {exercise} asks what cannot be sent"):
            message = {
                "exercise": exercise,
                "nonce": nonce,
                "driver": judge.driver,
                "cases": [judge.given(case) for case in cases],
            }
            return Challenge(exercise, cases, nonce, encode(message))

    def expected(self, challenge: Challenge) -> list[dict]:
        """The solution's answers, encoded: nothing that is done to one reaches the next use."""
        if challenge.expected is None:
            judge = self._judges[challenge.exercise]
            with self._ours(f"the judge of {challenge.exercise} fails"):
                found = judge.answers(self._solution, challenge.cases)
            for case, answer in zip(challenge.cases, found, strict=True):
                if "answer" not in answer:
                    said = answer["text"] or answer["error"]
                    self._fail_on_the_solution(challenge, case, "fails on", said)
            challenge.expected = found
        return challenge.expected

    def _see_that_the_solution_passes(self, challenge: Challenge) -> None:
        """A comparison that refuses what is right says nothing about a student's answer."""
        judge, expected = self._judges[challenge.exercise], self.expected(challenge)
        for case, right in zip(challenge.cases, expected, strict=True):
            found = finding(case.name, case.part, right, right, judge.rules)
            if found.status != "passed":
                self._fail_on_the_solution(challenge, case, "refuses", found.text)
        self._proven.add(challenge.nonce)

    def _fail_on_the_solution(
        self, challenge: Challenge, case: Case, how: str, said: str
    ) -> NoReturn:
        raise JudgeError(
            f"{self.lab.stem}: the judge of {challenge.exercise} {how} the lab's own solution too "
            f"({case.name}: {said}): no student's fault, and nothing was graded by it"
        )

    @contextlib.contextmanager
    def _ours(self, what: str) -> Iterator[None]:
        """Whatever is raised inside is a failure of the lab's own."""
        try:
            yield
        except JudgeError:
            raise
        except (Exception, SystemExit) as error:
            lines = str(error).strip().splitlines() or ["no reason was given"]
            raise JudgeError(
                f"{self.lab.stem}: {what}: {type(error).__name__}: {lines[0][:200]}"
            ) from error

    def _cases(self, exercise: str, seed: str) -> list[Case]:
        digest = hashlib.sha256(f"{seed}/{self.lab.stem}/{exercise}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        judge = self._judges[exercise]
        with self._ours(f"the judge of {exercise} fails to ask"):
            cases = list(judge.ask(rng))
        if not cases:
            raise JudgeError(f"{self.lab.stem}: the judge of {exercise} asks nothing")
        wanted, found = set(judge.parts or [""]), {c.part for c in cases}
        for part in [*sorted(found - wanted), *sorted(wanted - found)]:
            what = "a case of the unknown part" if part in found else "no case of the part"
            raise JudgeError(
                f"{self.lab.stem}: the judge of {exercise} has {what} {part!r}; "
                "parts = {...} and the cases' part= must name the same"
            )
        return cases
