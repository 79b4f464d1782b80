"""How figures end: with words, in the picture and below it, and in no other way."""

import ast

import IPython.display
import matplotlib
import matplotlib.pyplot as plt
import pytest

from labsupport.course.source import find_labs, read_lab
from labsupport.grading.submission.sanitise import MAX_ALT, clean_outputs
from labsupport.notebook.failures import CheckFailed
from labsupport.notebook.plot import charts, finish
from labsupport.notebook.plot.words import course, entitled, listed, number
from tests.conftest import ROOT

NOTEBOOK = ROOT / "labsupport" / "notebook"
ROOMS = [
    p
    for folder in (NOTEBOOK, ROOT / "labsupport" / "labs")
    for p in sorted(folder.rglob("*.py"))
    if p != NOTEBOOK / "plot" / "ending.py"
]
PNG = "iVBORw0KGgo="


@pytest.fixture
def notebook(monkeypatch):
    """What a notebook's cell would show: data and metadata."""
    shown = []

    def display(one, metadata=None, raw=False):
        shown.append((one if raw else "figure", metadata or {}))

    plt.close("all")  # what other tests left
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "inline")
    monkeypatch.setattr(IPython.display, "display", display)
    yield shown
    plt.close("all")


def test_a_figure_goes_out_with_its_words_in_the_picture_and_below_it(notebook):
    fig, ax = plt.subplots()
    finish(fig, "A < B", "Two bars, the left one twice as high.")
    (picture, metadata), (words, _) = notebook
    told = "A < B. Two bars, the left one twice as high."
    assert picture == "figure" and metadata == {"image/png": {"alt": told}}
    assert words["text/html"].startswith("<details><summary>Figure in words</summary>A &lt; B. Two")
    assert told in words["text/plain"] and fig.get_suptitle() == "A < B"
    assert not plt.get_fignums()  # or the cell would show it once more


@pytest.mark.parametrize("alt", ["", "  "])
def test_a_figure_without_words_is_refused(notebook, alt):
    with pytest.raises(ValueError, match="alt: say what the figure shows"):
        finish(plt.figure(), "A title is not enough", alt)
    assert not notebook


def test_words_are_made_of_the_numbers(notebook):
    charts.lines([1, 2, 3], {"yours": [0.9, 0.3, 0.5]}, xlabel="step", ylabel="loss", title="Loss")
    assert notebook[0][1]["image/png"]["alt"] == (
        "Loss. Up: loss; across: step. Yours falls from 0.9 at 1 to 0.5 at 3, with its lowest 0.3 "
        "at 2."
    )


def test_how_curves_go():
    assert course([1, 2], [5, 5]) == "stays near 5 from 1 to 2"
    assert (
        course([1, 2, 3], [1, 9, 4], "%")
        == "rises from 1% at 1 to 4% at 3, with its highest 9% at 2"
    )
    assert course([1, 2], [float("nan"), 2]) == "is 2 at 2"
    assert course([], []) == "has no value"
    assert [number(v) for v in (0.12345, 123.4, 1234567, -2)] == ["0.123", "123", "1,230,000", "-2"]
    assert listed(["a"]) == "a" and listed("abc") == "a, b and c"
    assert entitled("Why?", "So.") == "Why? So." and entitled("", "So.") == "So."


def drawing_calls(tree):
    """Calls that begin, save or show a figure: (line, what)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("plt.show", "plt.subplots", "plt.figure", "Figure") or name.endswith(
                (".savefig", "pyplot.show")
            ):
                yield node.lineno, name


@pytest.mark.parametrize("path", ROOMS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_nothing_draws_but_through_an_ending_with_words(path):
    """In a function that begins a figure it is ended too, or returned to who ends it."""
    tree = ast.parse(path.read_text())
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        calls = {name for _, name in drawing_calls(function)}
        called = {getattr(c.func, "id", "") for c in ast.walk(function) if isinstance(c, ast.Call)}
        assert "plt.show" not in calls, function.name
        if "fig.savefig" in calls:
            assert path == NOTEBOOK / "widgets.py" and function.name == "drawn"
        if calls & {"plt.subplots", "plt.figure"} and "Figure" not in ast.unparse(
            function.returns or ast.Constant("")
        ):
            assert called & {"finish", "show", "show_figure"}, function.name
        if "Figure" in calls:
            assert "drawn" in called, function.name
    outside = ast.Module([n for n in tree.body if not isinstance(n, ast.FunctionDef)], [])
    classes = [n for n in outside.body if isinstance(n, ast.ClassDef)]
    outside.body = [n for n in outside.body if n not in classes]
    assert not list(drawing_calls(outside))


@pytest.mark.parametrize("path", find_labs(ROOT / "solutions"), ids=lambda path: path.stem)
def test_a_labs_own_cells_end_their_figures_with_words_too(path):
    for cell in read_lab(path).cells:
        if cell.cell_type != "code" or cell.kind in ("trap", "alternative"):
            continue
        tree = ast.parse(cell.source)
        calls = [name for _, name in drawing_calls(tree)]
        ends = [
            call
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "figures.finish"
        ]
        assert not [name for name in calls if name not in ("plt.subplots", "plt.figure")], cell.id
        assert len(calls) == len(ends), cell.id
        assert all(len(end.args) == 3 or end.keywords[0].arg == "alt" for end in ends), cell.id


def picture(alt, kind="image/png"):
    return {
        "output_type": "display_data",
        "data": {kind: PNG, "text/plain": "<Figure>"},
        "metadata": {kind: {"alt": alt, "width": 9, "needs_background": "x"}, "other": 1},
    }


def test_feedback_keeps_what_is_said_of_a_picture_and_nothing_else():
    (kept,) = clean_outputs([picture("Two bars, a & b.")])
    assert kept["metadata"] == {"image/png": {"alt": "Two bars, a & b."}}


def test_what_is_said_of_a_picture_can_do_nothing_in_a_page():
    evil = 'x" onerror="alert(1)"><script>alert(1)</script>' + "y" * 9999
    (kept,) = clean_outputs([picture(evil)])
    alt = kept["metadata"]["image/png"]["alt"]
    assert not set(alt) & set('<>"') and len(alt) == MAX_ALT


@pytest.mark.parametrize("alt", [None, 7, ["a"], {"b": 1}, "", " \n"])
def test_what_is_no_text_is_left_out(alt):
    assert clean_outputs([picture(alt)])[0]["metadata"] == {}
    broken = picture("a") | {"metadata": alt}
    assert clean_outputs([broken])[0]["metadata"] == {}


def test_the_headline_of_a_failed_check_has_no_colour_of_its_own():
    first, second = CheckFailed("scale: wrong\n  expected 3")._render_traceback_()
    assert first == "\x1b[1mscale: wrong\x1b[0m" and second == "  expected 3"
