"""Read a lab's code: its solved namespace, its judges, and the part of a judge that travels."""

import ast
from typing import Any

import torch

from labsupport.course.source import Lab, LabCell, solution_code
from labsupport.grading.answers.respond import driver_names
from labsupport.grading.judging.cases import Case, randn
from labsupport.grading.judging.compare import TOLERANCE


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


def diagnosis_of(trap: LabCell) -> str:
    """The comment that begins a trap: what a student with this mistake is told."""
    lines = []
    for line in trap.source.strip().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    return " ".join(lines)


def read_judge(cell: LabCell) -> dict[str, Any]:
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
