"""The trusted half of grading: what to ask, what is right, and what a wrong answer means.

A judge cell defines ``ask(rng)``, which yields cases, and optionally ``drive(lab, **inputs)``,
``tolerance`` and ``accept(answer, expected)``. Only ``drive``, with the names it refers to, and
the inputs ever travel to a student's process. What is right comes from running the same driver
on the lab's own solution; what a wrong answer means, from running it on the lab's traps.
"""

import ast
import hashlib
import uuid
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from labsupport.course.source import Lab, LabCell, solution_code
from labsupport.grading.cases import Case, randn
from labsupport.grading.compare import TOLERANCE, difference
from labsupport.respond import LabNamespace, answer_cases, driver_names, make_driver
from labsupport.wire import WireError, decode, encode

STATUSES = (
    "passed", "failed", "error", "timeout", "crashed", "out of memory", "missing", "tampered",
    "not reached",
)


@dataclass
class Verdict:
    """The outcome of one exercise. ``status`` is one of ``STATUSES``."""

    exercise: str
    status: str
    points: float
    max_points: float
    message: str

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass
class Challenge:
    """What one student is asked in one exercise. ``text`` is all that travels."""

    exercise: str
    cases: list[Case]
    nonce: str
    text: str


class AnswerKey:
    """A lab's judges, run against its solution in this process. Build once, use for a class."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self._solution = LabNamespace(namespace_of(lab))
        self._judges = {c.name: _read_judge(c) for c in lab.of("judge")}
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
        for index, (case, answer) in enumerate(zip(challenge.cases, answers, strict=True)):
            found = self._case(challenge, index, case, answer)
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
        return Verdict(challenge.exercise, status, points, most, message)

    def _case(self, challenge: Challenge, index: int, case: Case, answer: Any):
        """(status, message) of a case that is not right, or None."""
        if not isinstance(answer, dict):
            return "tampered", "the response is malformed"
        if "error" in answer:
            return _error(case, answer)
        try:
            value = decode(answer["answer"])
        except (WireError, KeyError, TypeError):
            return "tampered", f"{case.name}: the answer does not decode"
        found = self._compare(challenge.exercise, case, value)
        if found is None:
            return None
        diagnosis = self._diagnose(challenge.exercise, case, value)
        return "failed", f"{case.name}: {found}." + (f" {diagnosis}" if diagnosis else "")

    def _compare(self, exercise: str, case: Case, value: Any) -> str | None:
        judge = self._judges[exercise]
        expected = self._answer(exercise, self._solution, case)
        if judge["accept"]:
            accepted = judge["accept"](value, expected)
            return None if accepted is True else str(accepted or "the answer is not right")
        return difference(value, expected, judge["tolerance"])

    def _diagnose(self, exercise: str, case: Case, value: Any) -> str | None:
        """The catalogue's word for an answer that equals a known mistake's on this case."""
        if exercise not in self._traps:
            self._traps[exercise] = [
                (trap, LabNamespace(namespace_of(self.lab, {exercise: trap.source})))
                for trap in self.lab.of("trap", exercise)
            ]
        for trap, namespace in self._traps[exercise]:
            try:
                mistaken = self._answer(exercise, namespace, case)
                same = difference(value, mistaken, self._judges[exercise]["tolerance"]) is None
            except Exception:  # a trap may fail on some inputs; then it explains nothing here
                continue
            if same:
                return diagnosis_of(trap)
        return None

    def _answer(self, exercise: str, namespace: LabNamespace, case: Case) -> Any:
        driver = make_driver(self._judges[exercise]["driver"], exercise)
        (answer,) = answer_cases(driver, namespace, [decode(encode(case.inputs))])
        if "answer" not in answer:
            raise RuntimeError(f"{exercise}, {case.name}: {answer['error']}: {answer['text']}")
        return decode(answer["answer"])

    def _cases(self, exercise: str, seed: str) -> list[Case]:
        digest = hashlib.sha256(f"{seed}/{self.lab.stem}/{exercise}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        return list(self._judges[exercise]["ask"](rng))


def namespace_of(lab: Lab, replace: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a lab's setup and exercise cells, solved, and return their names.

    ``replace`` gives other code for some exercises: a trap, an alternative. Figures, checks and
    experiments are left out.
    """
    names: dict[str, Any] = {"PROFILE": "smoke", "SEED": 0, "__name__": lab.stem}
    state = torch.random.get_rng_state()
    try:
        for cell in lab.cells:
            if cell.kind == "exercise":
                code = (replace or {}).get(cell.name) or solution_code(cell.source)
            elif "setup" in cell.tags:
                code = cell.source
            else:
                continue
            exec(compile(code, f"<{lab.stem} {cell.id}>", "exec"), names)
    finally:
        torch.random.set_rng_state(state)
    return names


def diagnosis_of(trap: LabCell) -> str:
    """The comment that begins a trap: what a student with this mistake is told."""
    lines = []
    for line in trap.source.strip().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    return " ".join(lines)


def _error(case: Case, answer: dict) -> tuple[str, str]:
    text = str(answer.get("text", ""))
    messages = {
        "missing": ("missing", f"{text} is not defined in the notebook"),
        "unsolved": ("missing", "not implemented yet"),
        "unsendable": ("failed", f"{case.name}: {text}"),
        "changed": ("failed", f"{case.name}: the inputs were changed in place; work on a copy"),
        "raised": ("error", f"{case.name}: {text}"),
    }
    return messages.get(answer["error"], ("tampered", "the response is malformed"))


def _read_judge(cell: LabCell) -> dict[str, Any]:
    names = driver_names() | {"Case": Case, "randn": randn}
    exec(compile(cell.source, f"<judge of {cell.name}>", "exec"), names)
    return {
        "ask": names["ask"],
        "driver": driver_source(cell.source),
        "accept": names.get("accept"),
        "tolerance": TOLERANCE | names.get("tolerance", {}),
    }


def driver_source(source: str) -> str | None:
    """The part of a judge cell that travels: ``drive`` and what it refers to, nothing else."""
    body = ast.parse(source).body
    binding = {name: node for node in body for name in _bound(node)}
    if "drive" not in binding:
        return None
    wanted, queue = set(), ["drive"]
    while queue:
        node = binding.get(queue.pop())
        if node is not None and node not in wanted:
            wanted.add(node)
            queue += [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    return "\n\n".join(ast.unparse(node) for node in body if node in wanted)


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(a.asname or a.name).split(".")[0] for a in node.names]
    return []

