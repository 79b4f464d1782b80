"""Points in prose are the markers'; what a card says of parts is held against the judge."""

from pathlib import Path

import pytest

from labsupport.course.build import build_notebook, student_notebook
from labsupport.course.lab import SourceError
from labsupport.course.points_told import with_points
from labsupport.course.source import find_labs, parse_lab, read_lab

SOLUTIONS = Path(__file__).parents[2] / "solutions"
CARD = """\
# %% [markdown]
# ### Exercise 1 · `scale` · 2 points · 5 minutes
# It earned 7 points of accuracy; 3 points are enough for a plane.
#
# | | |
# |:--|:--|
# | **Parts** | one number, 1.5 points; five, 0.5 points |
#
"""


@pytest.fixture
def text(mini_path):
    text = mini_path.read_text(encoding="utf-8")
    text = text.replace("# It has every", "#\n# **4.5 points, an hour.**\n# It has every")
    text = text.replace("# Why does", "# ### Question 1 · 1 point\n# Why does")
    text = text.replace("    for n in (1, 5):\n        yield Case(", PARTS)
    return text.replace('# %% exercise="scale"\n', f'{CARD}# %% exercise="scale"\n')


PARTS = """\
    for n in (1, 5):
        part = "one" if n == 1 else "five"
        yield Case(part=part, name="""


def with_parts(text: str, one: float, five: float) -> str:
    text = text.replace(
        "def ask(rng):", f'parts = {{"one": {one}, "five": {five}}}\n\ndef ask(rng):', 1
    )
    return text.replace('judge="scale" points=2', f'judge="scale" points={one + five:g}')


def prose(text: str) -> str:
    notebook = student_notebook(parse_lab(text, Path("90_mini.py")))
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_headings_and_total_follow_the_markers(text):
    told = prose(with_parts(text, 1.5, 0.5))
    assert "**4.5 points, an hour.**" in told and "`scale` · 2 points · 5 minutes" in told
    changed = text.replace("points=1.5", "points=2.5").replace('"why" points=1', '"why" points=3')
    told = prose(with_parts(changed, 3, 1))
    assert "**9.5 points, an hour.**" in told
    assert "`scale` · 4 points · 5 minutes" in told and "Question 1 · 3 points" in told
    assert "It earned 7 points of accuracy; 3 points are enough" in told  # another's points


def test_one_point_is_one_point(text):
    told = prose(with_parts(text, 0.5, 0.5))
    assert "`scale` · 1 point · 5 minutes" in told and "**3.5 points" in told


def test_a_card_that_speaks_of_other_parts_is_refused_with_its_line(text, tmp_path):
    good = parse_lab(with_parts(text, 1.5, 0.5), Path("90_mini.py"))
    build_notebook(good, tmp_path)
    wrong = with_parts(text, 1, 1)
    with pytest.raises(SourceError) as caught:
        build_notebook(parse_lab(wrong, Path("90_mini.py")), tmp_path)
    line = 1 + wrong.splitlines().index(
        "# | **Parts** | one number, 1.5 points; five, 0.5 points |"
    )
    assert str(caught.value).startswith(
        f"90_mini.py:{line}: the card of 'scale' speaks of 1.5 points"
    )
    assert "(one 1, five 1); write the judge's points there" in str(caught.value)


@pytest.mark.parametrize("path", find_labs(SOLUTIONS), ids=lambda path: path.stem[:2])
def test_the_labs_say_what_their_markers_say(path, tmp_path):
    lab = read_lab(path)
    for cell in lab.cells:
        if cell.kind in ("prose", "question"):
            assert with_points(cell, lab) == cell.source
    assert f"**{lab.points:g} points" in lab.cells[0].source + lab.cells[1].source
    build_notebook(lab, tmp_path)
    for judge in [*lab.of("judge"), *lab.of("question")]:
        judge.points += 5
        judge.parts = {}
    told = "\n".join(with_points(c, lab) for c in lab.cells if c.kind in ("prose", "question"))
    assert f"**{lab.points:g} points" in told
    for judge in lab.of("judge"):
        assert f"`{judge.name}` · {judge.points:g} points" in told
