"""Examples for visible checks, drawn from a lab's judges (see ``answers.examples``)."""

import ast
import gzip
import json
from dataclasses import asdict
from pathlib import Path

import torch

from labsupport.answers.mistakes import Mistake
from labsupport.answers.wire import encode
from labsupport.course.judge_cell import used_by
from labsupport.course.lab import Lab
from labsupport.grading.judging.judge import AnswerKey

SEED = "a visible check"  # no student's


def write_examples(lab: Lab, folder: Path) -> Path:
    """Write the examples of a lab and return the file; the same lab on the same machine gives the
    same bytes."""
    path = folder / f"{lab.stem}.json.gz"
    folder.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them add in another order
    try:
        text = json.dumps(examples_of(AnswerKey(lab)), sort_keys=True)
    finally:
        torch.set_num_threads(threads)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def examples_of(key: AnswerKey) -> dict[str, dict]:
    """By exercise, all that ``answers.examples.load_examples`` reads."""
    return {name: _of_exercise(key, name) for name in key.lab.exercises}


def _of_exercise(key: AnswerKey, exercise: str) -> dict:
    judge, challenges = key.judge(exercise), key.challenges(exercise, SEED)  # one a part
    cases = [case for challenge in challenges for case in challenge.cases]
    expected = [answer for challenge in challenges for answer in key.expected(challenge)]
    mistakes = [
        Mistake(parts[0].text, [value for mistake in parts for value in mistake.answers])
        for parts in zip(*map(key.mistakes, challenges), strict=True)
    ]
    return {
        "driver": judge.driver,
        "accept": _accept(key.lab.one("judge", exercise).source),
        "tolerance": asdict(judge.tolerance),
        "names": [case.name for case in cases],
        "parts": [case.part for case in cases],
        "inputs": [encode(judge.given(case)) for case in cases],
        "expected": expected,
        "mistakes": [(m.text, _shortened(m, expected)) for m in mistakes],
    }


def _shortened(mistake: Mistake, expected: list[dict]) -> list[str | None]:
    """A mistake's answers as text, "" where it is the right one."""
    texts = [None if value is None else encode(value) for value in mistake.answers]
    return [
        "" if text == right["answer"] else text for text, right in zip(texts, expected, strict=True)
    ]


def _accept(source: str) -> str | None:
    body = ast.parse(source).body
    wanted = used_by(body, ("accept",))
    return "\n\n".join(ast.unparse(node) for node in body if node in wanted) or None
