"""The answer key of a lab, the trusted half of grading: what to ask, what is right, and what a
wrong answer means.

A judge cell defines ``ask(rng)``, which yields cases, and optionally ``drive(lab, **inputs)``,
``tolerance``, ``accept(answer, expected)`` and ``parts``, points by part of the exercise. Only
``drive``, with the names it refers to, and the inputs ever travel to a student's process. What is
right comes from running the same driver on the lab's own solution; what a wrong answer means, from
running it on the lab's traps.
"""

import hashlib
import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np

from labsupport.course.lab import Lab
from labsupport.grading.answers.respond import LabNamespace
from labsupport.grading.answers.wire import WireError, decode, encode
from labsupport.grading.judging.cases import Case
from labsupport.grading.judging.compare import contents, difference
from labsupport.grading.judging.diagnosis import Catalogue
from labsupport.grading.judging.lab_code import Judge, namespace_of, read_judge
from labsupport.grading.judging.verdicts import (
    Cause,
    Challenge,
    Finding,
    Status,
    Verdict,
    error_finding,
    score,
)

# Why a second call gave another answer, as far as the student's side can tell.
WHY_TWO = {
    "random": ": it draws random numbers, which this exercise does not ask for",
    "state": ": something is kept from one call to the next (a global variable, a default "
    "argument, an attribute), or random numbers are drawn from a generator of its own",
}


class AnswerKey:
    """A lab's judges, run against its solution in this process. Build once, use for a class."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self._solution = LabNamespace(namespace_of(lab))
        self._judges = {c.name: read_judge(c) for c in lab.of("judge")}
        self._catalogue = Catalogue(lab)

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
        found: list[Finding] = []
        lost: set[str] = set()  # parts: what comes after their first mistake is not looked at
        for index, (case, answer) in enumerate(zip(challenge.cases, answers, strict=True)):
            if case.part not in lost:
                found.append(self._case(challenge, index, answer))
                if found[-1].status != "passed":
                    lost.add(case.part)
        return found

    def all_cases(
        self, challenge: Challenge, status: Status, cause: Cause, message: str
    ) -> list[Finding]:
        """Findings for a challenge that has no answers to look at."""
        return [Finding(case.part, status, cause, message) for case in challenge.cases]

    def _ask(self, exercise: str, cases: list[Case]) -> Challenge:
        nonce = uuid.uuid4().hex
        message = {
            "exercise": exercise,
            "nonce": nonce,
            "driver": self._judges[exercise].driver,
            "cases": [case.inputs for case in cases],
        }
        return Challenge(exercise, cases, nonce, encode(message))

    def _case(self, challenge: Challenge, index: int, answer: Any) -> Finding:
        case, judge = challenge.cases[index], self._judges[challenge.exercise]
        if not isinstance(answer, dict):
            return Finding(case.part, "tampered", "forged", "the response is malformed")
        if "error" in answer:
            return error_finding(case, answer)
        try:
            value = decode(answer["answer"])
        except (WireError, KeyError, TypeError):
            broken = "the answer does not decode"
            return Finding(case.part, "tampered", "forged", broken, case.name)
        expected = self._expected(challenge)
        if "again" in answer and "again" not in expected[index]:
            changed = _changes(judge, value, answer)
            if changed:
                return Finding(case.part, "failed", "two results", changed, case.name)
        found = _compare(judge, value, decode(expected[index]["answer"]))
        if found is None:
            return Finding(case.part)
        hint = self._catalogue.hint(judge, case, value)
        cause: Cause = "known mistake" if hint else "not what is right"
        return Finding(case.part, "failed", cause, found, case.name, hint)

    def _expected(self, challenge: Challenge) -> list[dict]:
        """The solution's answers, encoded: nothing that is done to one reaches the next use."""
        if challenge.expected is None:
            judge = self._judges[challenge.exercise]
            found = judge.answers(self._solution, challenge.cases)
            for case, answer in zip(challenge.cases, found, strict=True):
                if "answer" not in answer:
                    where = f"{challenge.exercise}, {case.name}"
                    raise RuntimeError(f"{where}: {answer['error']}: {answer['text']}")
            challenge.expected = found
        return challenge.expected

    def _cases(self, exercise: str, seed: str) -> list[Case]:
        digest = hashlib.sha256(f"{seed}/{self.lab.stem}/{exercise}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        judge = self._judges[exercise]
        cases = list(judge.ask(rng))
        wanted, found = set(judge.parts or [""]), {c.part for c in cases}
        for part in [*sorted(found - wanted), *sorted(wanted - found)]:
            what = "a case of the unknown part" if part in found else "no case of the part"
            raise ValueError(
                f"{self.lab.stem}: the judge of {exercise} has {what} {part!r}; "
                "parts = {...} and the cases' part= must name the same"
            )
        return cases


def _compare(judge: Judge, value: Any, expected: Any) -> str | None:
    """What is wrong with an answer, None where it is right."""
    if not judge.accept:
        return difference(value, expected, judge.tolerance)
    # a judge is written for answers that have about the right form
    wrong = contents(value, expected)
    if wrong:
        return wrong
    try:
        accepted = judge.accept(value, expected)
    except Exception:
        return "the result is not of the form that the exercise asks for"
    return None if accepted is True else str(accepted or "the answer is not right")


def _changes(judge: Judge, value: Any, answer: dict) -> str | None:
    """What is wrong where a second call on the same inputs gave another answer than the
    first, though the solution's gives the same."""
    if answer["again"] is None:
        return "it works once, and fails when it is called again on the same inputs"
    try:
        second = decode(answer["again"])
        differs = difference(second, value, judge.tolerance)
    except (WireError, TypeError):
        return "the second answer does not decode"
    if not differs:
        return None
    why = WHY_TWO.get(str(answer.get("cause")), "")
    return f"called twice on the same inputs, it gives two results{why}"
