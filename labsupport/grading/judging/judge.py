"""The trusted half of grading: what to ask, what is right, and what a wrong answer means.

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

from labsupport.course.source import Lab, LabCell
from labsupport.grading.answers.respond import LabNamespace, answer_cases, make_driver
from labsupport.grading.answers.wire import WireError, decode, encode
from labsupport.grading.judging.cases import Case
from labsupport.grading.judging.compare import contents, difference
from labsupport.grading.judging.lab_code import (
    diagnosis_of,
    driver_source,
    namespace_of,
    read_judge,
)
from labsupport.grading.judging.verdicts import (
    STATUSES,
    Challenge,
    Finding,
    Verdict,
    error_finding,
    score,
)

__all__ = ["STATUSES", "AnswerKey", "Challenge", "Verdict", "driver_source", "namespace_of"]

# Why a second call gave another answer, as far as the student's side can tell.
CAUSES = {
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
        self._traps: dict[str, list[tuple[LabCell, LabNamespace]]] = {}

    def challenge(self, exercise: str, seed: str) -> Challenge:
        """Make the inputs for one student; the same seed gives the same inputs."""
        return self._ask(exercise, self._cases(exercise, seed))

    def challenges(self, exercise: str, seed: str) -> list[Challenge]:
        """The same inputs, part by part, so that one part's crash leaves the others alone."""
        cases = self._cases(exercise, seed)
        parts = self.lab.one("judge", exercise).parts or [""]
        return [self._ask(exercise, [c for c in cases if c.part == part]) for part in parts]

    def verdict(self, challenge: Challenge, response: dict | None) -> Verdict:
        """Judge a response bundle ``{"nonce", "answers"}``; None means that there was none."""
        return self.score(challenge.exercise, self.findings(challenge, response))

    def unanswered(self, challenge: Challenge, status: str, message: str) -> Verdict:
        """A verdict for an exercise whose cell never got to answer."""
        return self.score(challenge.exercise, self.all_cases(challenge, status, message))

    def score(self, exercise: str, findings: Iterable[Finding]) -> Verdict:
        """The verdict on an exercise by the findings of all its challenges."""
        return score(self.lab.one("judge", exercise), findings)

    def findings(self, challenge: Challenge, response: dict | None) -> list[Finding]:
        """What a response bundle is worth, case by case."""
        answers = (response or {}).get("answers")
        if response is None:
            return self.all_cases(challenge, "missing", "the graded cell gave no response")
        if response.get("nonce") != challenge.nonce or not isinstance(answers, list):
            return self.all_cases(challenge, "tampered", "the response is not the grader's own")
        if len(answers) != len(challenge.cases):
            return self.all_cases(challenge, "tampered", "the response lacks cases")
        found: list[Finding] = []
        lost: set[str] = set()  # parts: what comes after their first mistake is not looked at
        for index, (case, answer) in enumerate(zip(challenge.cases, answers, strict=True)):
            if case.part not in lost:
                found.append(self._case(challenge, index, answer))
                if found[-1].status != "passed":
                    lost.add(case.part)
        return found

    def all_cases(self, challenge: Challenge, status: str, message: str) -> list[Finding]:
        """Findings for a challenge that has no answers to look at."""
        return [Finding(case.part, status, message) for case in challenge.cases]

    def _ask(self, exercise: str, cases: list[Case]) -> Challenge:
        nonce = uuid.uuid4().hex
        message = {
            "exercise": exercise,
            "nonce": nonce,
            "driver": self._judges[exercise]["driver"],
            "cases": [case.inputs for case in cases],
        }
        return Challenge(exercise, cases, nonce, encode(message))

    def _case(self, challenge: Challenge, index: int, answer: Any) -> Finding:
        case, exercise = challenge.cases[index], challenge.exercise
        if not isinstance(answer, dict):
            return Finding(case.part, "tampered", "the response is malformed")
        if "error" in answer:
            return error_finding(case, answer)
        try:
            value = decode(answer["answer"])
        except (WireError, KeyError, TypeError):
            return Finding(case.part, "tampered", "the answer does not decode", case.name)
        expected = self._expected(challenge)
        if "again" in answer and "again" not in expected[index]:
            changed = self._changes(exercise, value, answer)
            if changed:
                return Finding(case.part, "failed", changed, case.name)
        found = self._compare(exercise, value, decode(expected[index]["answer"]))
        if found is None:
            return Finding(case.part)
        hint = self._diagnose(exercise, case, value) or ""
        return Finding(case.part, "failed", found, case.name, hint)

    def _compare(self, exercise: str, value: Any, expected: Any) -> str | None:
        judge = self._judges[exercise]
        if not judge["accept"]:
            return difference(value, expected, judge["tolerance"])
        # a judge is written for answers that have about the right form
        wrong = contents(value, expected)
        if wrong:
            return wrong
        try:
            accepted = judge["accept"](value, expected)
        except Exception:
            return "the result is not of the form that the exercise asks for"
        return None if accepted is True else str(accepted or "the answer is not right")

    def _changes(self, exercise: str, value: Any, answer: dict) -> str | None:
        """What is wrong where a second call on the same inputs gave another answer than the
        first, though the solution's gives the same."""
        if answer["again"] is None:
            return "it works once, and fails when it is called again on the same inputs"
        try:
            second = decode(answer["again"])
            differs = difference(second, value, self._judges[exercise]["tolerance"])
        except (WireError, TypeError):
            return "the second answer does not decode"
        if not differs:
            return None
        cause = CAUSES.get(str(answer.get("cause")), "")
        return f"called twice on the same inputs, it gives two results{cause}"

    def _diagnose(self, exercise: str, case: Case, value: Any) -> str | None:
        """The catalogue's word for an answer that equals a known mistake's on this case."""
        if exercise not in self._traps:
            self._traps[exercise] = [
                (trap, LabNamespace(namespace_of(self.lab, {exercise: trap.source})))
                for trap in self.lab.of("trap", exercise)
            ]
        for trap, namespace in self._traps[exercise]:
            try:
                (answer,) = self._answers(exercise, namespace, [case])
                mistaken = decode(answer["answer"])
                same = difference(value, mistaken, self._judges[exercise]["tolerance"]) is None
            except Exception:  # a trap may fail on some inputs; then it explains nothing here
                continue
            if same:
                return diagnosis_of(trap)
        return None

    def _expected(self, challenge: Challenge) -> list[dict]:
        """The solution's answers, encoded: nothing that is done to one reaches the next use."""
        if challenge.expected is None:
            found = self._answers(challenge.exercise, self._solution, challenge.cases)
            for case, answer in zip(challenge.cases, found, strict=True):
                if "answer" not in answer:
                    where = f"{challenge.exercise}, {case.name}"
                    raise RuntimeError(f"{where}: {answer['error']}: {answer['text']}")
            challenge.expected = found
        return challenge.expected

    def _answers(self, exercise: str, namespace: LabNamespace, cases: list[Case]) -> list[dict]:
        driver = make_driver(self._judges[exercise]["driver"], exercise)
        inputs = [decode(encode(case.inputs)) for case in cases]
        return answer_cases(driver, namespace, inputs)

    def _cases(self, exercise: str, seed: str) -> list[Case]:
        digest = hashlib.sha256(f"{seed}/{self.lab.stem}/{exercise}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        cases = list(self._judges[exercise]["ask"](rng))
        wanted, found = set(self.lab.one("judge", exercise).parts or [""]), {c.part for c in cases}
        for part in [*sorted(found - wanted), *sorted(wanted - found)]:
            what = "a case of the unknown part" if part in found else "no case of the part"
            raise ValueError(
                f"{self.lab.stem}: the judge of {exercise} has {what} {part!r}; "
                "parts = {...} and the cases' part= must name the same"
            )
        return cases
