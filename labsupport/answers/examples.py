"""Examples: what a visible check asks, of every kind of case that the judge has.

`labs build` draws them from an exercise's judge, with numbers that no student is graded on, and
keeps them with the right answers, and those of known mistakes, in data/checks/STEM.json.gz. So a
check is as strong as its judge, needs no solution at hand, and says what the feedback page says.
"""

import gzip
import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from labsupport.answers.findings import Finding, Rules, finding
from labsupport.answers.mistakes import Mistake, explain
from labsupport.answers.respond import LabNamespace, answer_cases, driver_names, make_driver
from labsupport.answers.tolerance import Tolerance
from labsupport.answers.wire import decode
from labsupport.files import data_path


@dataclass(frozen=True)
class Examples:
    """The examples of one exercise: names and parts of its cases, their inputs, the right answers
    as they travel, known mistakes, and how answers are compared."""

    exercise: str
    driver: str | None
    rules: Rules
    names: list[str]
    parts: list[str]
    inputs: list[dict[str, Any]]
    expected: list[dict]
    mistakes: list[Mistake]

    def ask(self, names: dict[str, Any]) -> list[Finding]:
        """What the code among ``names`` (a notebook's globals) makes of them, explained. Part by
        part, as when it is graded: the first case of each part is asked twice."""
        driver = make_driver(self.driver, self.exercise)
        answers: list[dict] = []
        for _, cases in groupby(zip(self.parts, self.inputs, strict=True), lambda case: case[0]):
            inputs = [given for _, given in cases]
            answers += answer_cases(driver, LabNamespace(names), inputs)
        found = [
            finding(name, part, answer, right, self.rules)
            for name, part, answer, right in zip(
                self.names, self.parts, answers, self.expected, strict=True
            )
        ]
        return explain(found, self.rules, lambda: self.mistakes)


def load_examples(lab: str, exercise: str) -> Examples:
    """The examples of an exercise of a lab, by the lab's number or stem; inputs are fresh copies.

    Raises FileNotFoundError or KeyError where there are none.
    """
    about = _read(lab)[exercise]
    accept = None
    if about["accept"]:
        names = driver_names()
        exec(compile(about["accept"], f"<comparison of {exercise}>", "exec"), names)
        accept = names["accept"]
    rules = Rules(Tolerance(**about["tolerance"]), accept)
    expected = about["expected"]
    right = [decode(answer["answer"]) for answer in expected]
    mistakes = [
        Mistake(text, [_mistaken(answer, i, right) for i, answer in enumerate(answers)])
        for text, answers in about["mistakes"]
    ]
    return Examples(
        exercise,
        about["driver"],
        rules,
        about["names"],
        about["parts"],
        [decode(text) for text in about["inputs"]],
        expected,
        mistakes,
    )


def _mistaken(answer: str | None, index: int, right: list[Any]) -> Any:
    """A mistake's answer: "" stands for the right one, None for none."""
    return answer if answer is None else decode(answer) if answer else right[index]


@lru_cache(maxsize=4)
def _read(lab: str) -> dict[str, Any]:
    folder = data_path("checks")
    found = sorted(folder.glob(f"{lab}*.json.gz"))
    if not found:
        raise FileNotFoundError(f"no examples of lab {lab} in {folder}: run 'labs build {lab}'")
    return json.loads(gzip.decompress(found[0].read_bytes()))
