"""What is not run for a grade: only given cells that nothing of the grade can depend on."""

import ast

import pytest

from labsupport.course.lab import LabCell
from labsupport.course.source import find_labs, read_lab
from labsupport.grading.submission.cell_code import parsed
from labsupport.grading.submission.passive import passive_cells
from labsupport.grading.submission.submission import SKIPPED

IMPORTS = """
from labsupport.labs.lab01 import data_scaling, diagrams
from labsupport.labs.lab02.cost_widget import cost_explorer
from labsupport.notebook import environment
from labsupport.notebook import plot as figures
from labsupport.notebook.plot import charts
import matplotlib.pyplot as plt
"""
SHOW = 'figures.show_patches(picture, 32)\nprint("as you see")'


def role(kind, source, tags=()):
    return LabCell(kind, source, 1, tags=list(tags), id=kind)


def passive(student, *given, tags=()):
    """Those of the given sources that are passive beside a student's exercise cell."""
    cells = [(IMPORTS, role("given", IMPORTS, ["setup"]))]
    cells += [(source, role("given", source, tags)) for source in given]
    cells += [(student, role("exercise", ""))]
    sources, roles = zip(*cells, strict=True)
    return [sources[place] for place in sorted(passive_cells(sources, roles, SKIPPED))]


def test_a_cell_that_only_draws_is_passive():
    assert passive("def f(x): return x", SHOW) == [SHOW]
    assert passive("def f(x): return x", SHOW, tags=["setup"]) == []


DRAWS = [
    "diagrams.show_vit(picture)",  # a lab's room that draws
    "cost_explorer(7)",  # a name from one
    "environment.report(PROFILE)",
    "figures.charts.lines(picture)",
    "display(picture)",
]


@pytest.mark.parametrize("given", DRAWS)
def test_what_only_draws_is_told_by_where_it_comes_from(given):
    assert passive("def f(x): return picture", given) == [given]


def test_a_drawing_name_with_another_meaning_no_longer_draws():
    for own in ("def charts(): pass", "charts = store", "from store import charts"):
        assert passive(own, "charts.lines(a)\ndiagrams.show_vit(a)") != []  # nobody reads charts
        assert passive(f"{own}\ndef f(): return charts", "charts.lines(a)") == []
    again = "from labsupport.notebook.plot import charts\ndef f(): return charts"
    assert passive(again, "charts.lines(a)") == ["charts.lines(a)"]


def test_what_trains_or_comes_from_elsewhere_does_not_only_draw():
    student = "def f(x): return data_scaling, plt, model"
    for given in ("data_scaling.data_scaling_run(model)", "plt.plot(model)", "model.fit()"):
        assert passive(student, given) == []


ACTS = [
    "torch.manual_seed(0)",
    "train(model)",
    "model.weight = None",
    "store['a'] = 1",
    "import torch",
    "for step in range(3):\n    model.step()",
    "await something()",
    "(lambda: hidden)()()",
    "losses = fit(model)",
    "raise ValueError",
    "%matplotlib agg",
]


@pytest.mark.parametrize("given", ACTS)
def test_what_may_change_something_that_is_read_is_run(given):
    student = "def f(x):\n    return torch, model, store, x"
    assert passive(student, given) == []


def test_names_are_followed_through_other_given_cells():
    one, two, three = "a = 1", "b = [a]\nfigures.show(b)", "c = b\ncharts.lines(c)"
    assert passive("def f(): return b", one, two, three) == [three]
    assert passive("def f(): return c", one, two, three) == []
    assert passive("def f(b): return b", one, two, three) == [one, two, three]  # its own b


def test_code_that_can_read_any_name_leaves_nothing_passive():
    for student in ("def f(): return globals()['a']", "eval('a')", "%time f()"):
        assert passive(student, "a = 1") == []
    assert passive("def f(:", "a = 1") == ["a = 1"]  # it does not compile and will not run


def test_lab_01s_demonstrations(root):
    (path,) = find_labs(root / "solutions", ["01"])
    cells = [c for c in read_lab(path).cells if c.kind not in ("trap", "alternative")]
    found = passive_cells([c.source for c in cells], cells, SKIPPED)
    shown = [c for place, c in enumerate(cells) if place in found]
    assert len(shown) >= 15
    assert {c.kind for c in shown} == {"given", "check"}
    assert not any("setup" in c.tags for c in shown)


def test_parsing_survives_a_traceback_that_is_formatted_meanwhile(monkeypatch):
    tries = []

    def parse(text, real=ast.parse):
        tries.append(text)
        if len(tries) == 1:
            raise SystemError("AST constructor recursion depth mismatch")
        return real(text)

    monkeypatch.setattr("labsupport.grading.submission.cell_code.ast.parse", parse)
    assert parsed("a = 1").body and len(tries) == 2


def test_a_check_is_not_run_unless_something_reads_what_it_sets():
    check = 'with Check("f") as check:\n    probe = 3\n    check.cases("01", globals())'

    def skipped(student):
        cells = [(student, role("exercise", "")), (check, role("check", check))]
        sources, roles = zip(*cells, strict=True)
        return passive_cells(sources, roles, SKIPPED) == {1}

    assert skipped("def f(x): return x")
    assert not skipped("def f(x): return probe")
