"""A lab's cell that is interrupted leaves torch as it was."""

import ast

import pytest

from labsupport.course.source import find_labs, read_lab
from tests.conftest import ROOT


@pytest.mark.parametrize("path", find_labs(ROOT / "solutions"), ids=lambda path: path.stem)
def test_threads_are_given_back_where_a_measurement_is_interrupted(path):
    """Every call that sets the number of threads but the first of a pair is in a `finally`."""
    for cell in read_lab(path).cells:
        if cell.cell_type != "code" or "set_num_threads" not in cell.source:
            continue
        tree = ast.parse(cell.source)
        calls = [n for n in ast.walk(tree) if ast.unparse(n).startswith("torch.set_num_threads(")]
        calls = [n for n in calls if isinstance(n, ast.Call)]
        ends = [
            call
            for block in ast.walk(tree)
            if isinstance(block, ast.Try)
            for statement in block.finalbody
            for call in ast.walk(statement)
            if call in calls
        ]
        assert len(calls) == 2 * len(ends), cell.id
