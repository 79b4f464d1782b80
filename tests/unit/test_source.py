"""A lab's source is read as written, and refused with file, line and the mend where it is wrong."""

import pytest

from labsupport.course.lab import SourceError, solution_code
from labsupport.course.source import find_labs, read_lab


def test_reads_every_kind(mini):
    assert mini.number == "90" and mini.title == "A lab as small as a lab can be"
    assert mini.exercises == ["scale", "twice"]
    assert mini.points == 4.5
    kinds = {c.kind for c in mini.cells}
    assert kinds == {
        "prose",
        "parameters",
        "given",
        "exercise",
        "check",
        "judge",
        "trap",
        "alternative",
        "experiment",
        "widget",
        "question",
    }


def test_ids_survive_an_edit_elsewhere(mini, mini_path, tmp_path):
    text = mini_path.read_text().replace("# It has every", "# Edited. It has every")
    path = tmp_path / "90_mini.py"
    path.write_text(text)
    assert [c.id for c in read_lab(path).cells] == [c.id for c in mini.cells]


def test_lines_are_those_of_the_markers(mini, mini_path):
    lines = mini_path.read_text().splitlines()
    for cell in mini.cells:
        assert lines[cell.line - 1].startswith("# %%")


def test_solution_code_has_no_markers(mini):
    code = solution_code(mini.one("exercise", "scale").source)
    assert "SOLUTION" not in code and "return torch.as_tensor(x) * factor" in code


# what is wrong: (text in the source, its replacement, words of the refusal, words at its line)
MISTAKES = {
    "no solution markers": (
        "    ### BEGIN SOLUTION\n    return scale(x, 2.0)\n    ### END SOLUTION",
        "    return scale(x, 2.0)",
        "no solution markers; put the solution between",
        'exercise="twice"',
    ),
    "solution not ended": (
        "    return scale(x, 2.0)\n    ### END SOLUTION",
        "    return scale(x, 2.0)",
        "never ended; add '### END SOLUTION'",
        "### BEGIN SOLUTION",
    ),
    "solution markers in given code": (
        "import torch\n",
        "import torch\n### BEGIN SOLUTION\n### END SOLUTION\n",
        "solution markers in a given cell",
        "### BEGIN SOLUTION",
    ),
    "duplicate exercise": (
        'exercise="twice"',
        'exercise="scale"',
        "another exercise 'scale'",
        'exercise="scale"',
    ),
    "duplicate trap": (
        'trap="twice" name="squares"',
        'trap="scale" name="adds"',
        "named 'adds'",
        'trap="scale" name="adds"',
    ),
    "judge for an unknown exercise": (
        'judge="twice"',
        'judge="thrice"',
        "'thrice'; exercises here: scale, twice",
        'judge="thrice"',
    ),
    "check for an unknown exercise": (
        'check="twice"',
        'check="thrice"',
        "unknown exercise 'thrice'",
        'check="thrice"',
    ),
    "no points": (" points=2", "", "has no points; add points=N", 'judge="scale"'),
    "zero points": (" points=2", " points=0", "has no points; add points=N", 'judge="scale"'),
    "points on a check": (
        'check="scale"',
        'check="scale" points=1',
        "points on a check cell",
        'check="scale"',
    ),
    "question without points": (
        'question="why" points=1',
        'question="why"',
        "question 'why' has no points",
        'question="why"',
    ),
    "trap without a diagnosis": (
        "# Your output equals x squared.\n",
        "",
        "does not say what is wrong",
        'trap="twice"',
    ),
    "trap without a name": (' name="squares"', "", "has no name", 'trap="twice"'),
    "syntax": ("    return x * x", "    return x *", "Python cannot read this cell", "return x *"),
    "unknown key": ('widget="slider"', 'wigdet="slider"', "unknown cell key 'wigdet'", "wigdet"),
    "two kinds": (
        'widget="slider"',
        'widget="slider" check="scale"',
        "cannot be both",
        'widget="slider"',
    ),
    "judge asks nothing": (
        'ask(rng):\n    yield Case("four',
        'asks(rng):\n    yield Case("four',
        "has no ask(rng)",
        'judge="twice"',
    ),
    "no seed": ("SEED = 0\n", "", "no SEED among the parameters", "parameters"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused(mistake, mini_path, tmp_path):
    old, new, words, at_line = MISTAKES[mistake]
    text = mini_path.read_text()
    assert old in text
    path = tmp_path / "90_mini.py"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(SourceError) as caught:
        read_lab(path)
    error = caught.value
    assert words in str(error) and "\n" not in str(error)
    assert str(error).startswith(f"{path}:{error.line}: ")
    assert at_line in path.read_text().splitlines()[error.line - 1]


def test_missing_check_and_header(mini_path, tmp_path):
    text = mini_path.read_text()
    path = tmp_path / "90_mini.py"
    start = text.index('# %% check="twice"')
    end = text.index('# %% judge="twice"')
    path.write_text(text[:start] + text[end:])
    with pytest.raises(SourceError, match="'twice' has no check"):
        read_lab(path)
    path.write_text(text.replace('#   number: "90"\n', ""))
    with pytest.raises(SourceError, match="no lab number"):
        read_lab(path)


def test_labs_are_found_by_number_or_name(mini_path):
    folder = mini_path.parent
    assert find_labs(folder) == find_labs(folder, ["90"]) == find_labs(folder, ["90_mini"])
    with pytest.raises(FileNotFoundError, match="no lab '77'.*there are 90_mini"):
        find_labs(folder, ["77"])
