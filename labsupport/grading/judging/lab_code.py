"""A lab's code, run and read: its solved names, its judges, and what of a judge travels."""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from labsupport.answers.findings import Rules
from labsupport.answers.respond import LabNamespace, answer_cases, driver_names, make_driver
from labsupport.answers.tolerance import Tolerance
from labsupport.answers.wire import decode, encode
from labsupport.course.judge_cell import used_by
from labsupport.course.lab import Lab, LabCell, solution_code
from labsupport.grading.judging.cases import Case, in_float32, randn


@dataclass(frozen=True)
class Judge:
    """What a judge cell says: ``ask(rng)`` yields cases; ``driver`` is the source of what calls
    the student's code, None for a plain call; ``accept(answer, expected)``, where there is one,
    takes the place of the comparison and returns True or what is wrong."""

    exercise: str
    ask: Callable[[np.random.Generator], Iterable[Case]]
    driver: str | None
    accept: Callable[[Any, Any], Any] | None
    tolerance: Tolerance
    parts: dict[str, float]

    @property
    def rules(self) -> Rules:
        """How answers are compared."""
        return Rules(self.tolerance, self.accept)

    def given(self, case: Case) -> dict[str, Any]:
        """The inputs of a case as they are handed over: numbers with a fraction in float32, the
        dtype of ordinary PyTorch code, unless the exercise asks for double precision."""
        return case.inputs if self.tolerance.float64 is not None else in_float32(case.inputs)

    def answers(self, namespace: LabNamespace, cases: list[Case]) -> list[dict]:
        """What the code in a namespace answers here and now, encoded as a student's would be."""
        driver = make_driver(self.driver, self.exercise)
        inputs = [decode(encode(self.given(case))) for case in cases]
        return answer_cases(driver, namespace, inputs)


def read_judge(cell: LabCell) -> Judge:
    """Run a judge's cell, which defines its functions; its settings are the cell's own."""
    names = driver_names() | {"Case": Case, "Tolerance": Tolerance, "randn": randn}
    exec(compile(cell.source, f"<judge of {cell.name}>", "exec"), names)
    driver = driver_source(cell.source)
    return Judge(cell.name, names["ask"], driver, names.get("accept"), cell.tolerance, cell.parts)


def driver_source(source: str) -> str | None:
    """The part of a judge cell that travels: ``drive`` and what it refers to, nothing else."""
    body = ast.parse(source).body
    wanted = used_by(body, ("drive",))
    return "\n\n".join(ast.unparse(node) for node in body if node in wanted) or None


def namespace_of(lab: Lab, replace: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a lab's setup and exercise cells, solved, and return their names.

    ``replace`` gives other code for some exercises: a trap, an alternative. Figures, checks and
    experiments are left out.
    """
    return run_cells(lab.stem, solved_cells(lab, replace))


def solved_cells(lab: Lab, replace: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """(id, code) of a lab's setup and exercise cells, solved."""
    cells = []
    for cell in lab.cells:
        if cell.kind == "exercise":
            cells.append((cell.id, (replace or {}).get(cell.name) or solution_code(cell.source)))
        elif "setup" in cell.tags:
            cells.append((cell.id, cell.source))
    return cells


def run_cells(stem: str, cells: list[tuple[str, str]]) -> dict[str, Any]:
    """Run cells one after the other and return their names; torch's generator is left alone."""
    names: dict[str, Any] = {"PROFILE": "smoke", "SEED": 0, "__name__": stem}
    state = torch.random.get_rng_state()
    try:
        for name, code in cells:
            exec(compile(code, f"<{stem} {name}>", "exec"), names)
    finally:
        torch.random.set_rng_state(state)
    return names
