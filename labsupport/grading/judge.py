"""The trusted half of grading: what to ask, what is right, and what a wrong answer means.

A judge cell defines ``ask(rng)``, which yields cases, and optionally ``drive(lab, **inputs)``,
``tolerance`` and ``accept(answer, expected)``. Only ``drive``, with the names it refers to, and
the inputs ever travel to a student's process. What is right comes from running the same driver
on the lab's own solution; what a wrong answer means, from running it on the lab's traps.
"""

import hashlib
import uuid
from typing import Any

import numpy as np

from labsupport.course.source import Lab, LabCell
from labsupport.grading.cases import Case
from labsupport.grading.compare import contents, difference
from labsupport.grading.lab_code import diagnosis_of, driver_source, namespace_of, read_judge
from labsupport.grading.verdicts import STATUSES, Challenge, Verdict, error_verdict, one_line
from labsupport.respond import LabNamespace, answer_cases, make_driver
from labsupport.wire import WireError, decode, encode

__all__ = ["STATUSES", "AnswerKey", "Challenge", "Verdict", "driver_source", "namespace_of"]


class AnswerKey:
    """A lab's judges, run against its solution in this process. Build once, use for a class."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self._solution = LabNamespace(namespace_of(lab))
        self._judges = {c.name: read_judge(c) for c in lab.of("judge")}
        self._traps: dict[str, list[tuple[LabCell, LabNamespace]]] = {}

    def challenge(self, exercise: str, seed: str) -> Challenge:
        """Make the inputs for one student; the same seed gives the same inputs."""
        cases = self._cases(exercise, seed)
        nonce = uuid.uuid4().hex
        message = {
            "exercise": exercise,
            "nonce": nonce,
            "driver": self._judges[exercise]["driver"],
            "cases": [case.inputs for case in cases],
        }
        return Challenge(exercise, cases, nonce, encode(message))

    def verdict(self, challenge: Challenge, response: dict | None) -> Verdict:
        """Judge a response bundle ``{"nonce", "answers"}``; None means that there was none."""
        answers = (response or {}).get("answers")
        if response is None:
            return self._verdict(challenge, "missing", "the graded cell gave no response")
        if response.get("nonce") != challenge.nonce or not isinstance(answers, list):
            return self._verdict(challenge, "tampered", "the response is not the grader's own")
        if len(answers) != len(challenge.cases):
            return self._verdict(challenge, "tampered", "the response lacks cases")
        for index, answer in enumerate(answers):
            found = self._case(challenge, index, answer)
            if found:
                status, message = found
                return self._verdict(challenge, status, message)
        count = len(challenge.cases)
        return self._verdict(challenge, "passed", f"{count} case{'s' * (count > 1)} right")

    def unanswered(self, challenge: Challenge, status: str, message: str) -> Verdict:
        """A verdict for an exercise whose cell never got to answer."""
        return self._verdict(challenge, status, message)

    def _verdict(self, challenge: Challenge, status: str, message: str) -> Verdict:
        most = float(self.lab.one("judge", challenge.exercise).points)
        points = most if status == "passed" else 0.0
        return Verdict(challenge.exercise, status, points, most, one_line(message))

    def _case(self, challenge: Challenge, index: int, answer: Any):
        """(status, message) of a case that is not right, or None."""
        case, exercise = challenge.cases[index], challenge.exercise
        if not isinstance(answer, dict):
            return "tampered", "the response is malformed"
        if "error" in answer:
            return error_verdict(case, answer)
        try:
            value = decode(answer["answer"])
        except (WireError, KeyError, TypeError):
            return "tampered", f"{case.name}: the answer does not decode"
        expected = self._expected(challenge)
        if "again" in answer and "again" not in expected[0]:
            changed = self._changes(exercise, value, answer["again"])
            if changed:
                return "failed", f"{case.name}: {changed}"
        found = self._compare(exercise, value, decode(expected[index]["answer"]))
        if found is None:
            return None
        diagnosis = self._diagnose(exercise, case, value)
        return "failed", f"{case.name}: {found}." + (f" {diagnosis}" if diagnosis else "")

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

    def _changes(self, exercise: str, value: Any, again: Any) -> str | None:
        """What is wrong where a second call on the same inputs gave another answer than the
        first, though the solution's gives the same."""
        if again is None:
            return "it works once, and fails when it is called again on the same inputs"
        try:
            second = decode(again)
            differs = difference(second, value, self._judges[exercise]["tolerance"])
        except (WireError, TypeError):
            return "the second answer does not decode"
        return "called twice on the same inputs, it gives two results" if differs else None

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
        return list(self._judges[exercise]["ask"](rng))
