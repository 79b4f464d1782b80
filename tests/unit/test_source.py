"""A lab's source is read as written, and refused with file, line and the mend where it is wrong."""

import re

import pytest

from labsupport.answers.tolerance import Tolerance
from labsupport.course.lab import SourceError, solution_code
from labsupport.course.source import find_labs, read_lab
from labsupport.errors import LabError
from tests.conftest import ROOT

SOURCES = find_labs(ROOT / "solutions")


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
    "negative points": (" points=2", " points=-1", "-1 points; write points=N", 'judge="scale"'),
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
    # the header
    "header without quotes": (
        "title: A lab",
        "title: Lab: small",
        "YAML cannot read the header: mapping values are not allowed here; put a text that holds",
        "title: Lab: small",
    ),
    "header key": (
        "#   title:",
        "#   minuets: 20\n#   title:",
        "unknown key 'minuets' in the header; allowed: number, title, minutes, masks",
        "minuets",
    ),
    "header key beside lab": (
        "# lab:",
        "# title: Mine\n# lab:",
        "unknown key 'title' in the header; what is said of a lab stands, indented, under 'lab:'",
        "# title: Mine",
    ),
    "number that YAML reads": (
        'number: "90"',
        "number: 012",
        'number is not a text; write it in quotes: number: "..."',
        "number: 012",
    ),
    "minutes in words": (
        "#   title:",
        "#   minutes: three hours\n#   title:",
        "minutes is 'three hours'; write a whole number",
        "minutes:",
    ),
    "no minutes at all": (
        "#   title:",
        "#   minutes: 0\n#   title:",
        "minutes is 0; write a whole number",
        "minutes:",
    ),
    "one mask as text": (
        "#   title:",
        "#   masks: models/vit.py\n#   title:",
        'masks is not a list of files; write masks: ["models/vit.py"]',
        "masks:",
    ),
    "mask that is no file": (
        "#   title:",
        "#   masks: [models/vitt.py]\n#   title:",
        "there is no models/vitt.py in the package",
        "masks:",
    ),
    # markers
    "points as text": (
        " points=2",
        ' points="2"',
        "points must be a number, not '2'; write points=2, without quotes",
        'judge="scale"',
    ),
    "points as bool": (" points=2", " points=True", "points must be a number", 'judge="scale"'),
    "marker without quotes": (
        " points=2",
        " points=two",
        'this marker cannot be read: judge="scale" points=two; write key="text" or key=number',
        'judge="scale"',
    ),
    "name without quotes": ('check="scale"', "check=1", "check is not a name", "check=1"),
    "unknown tag": ('["setup"]', '["setpu"]', "unknown tag 'setpu'; allowed: parameters", "setpu"),
    "one tag as text": ('tags=["setup"]', 'tags="setup"', "tags is not a list", 'tags="setup"'),
    # judges
    "tolerance misspelt": (
        "def stand_in(",
        "tolerance = dict(\n    atol=1e-3,\n    rtoll=1,\n)\n\ndef stand_in(",
        "unknown key 'rtoll' in tolerance; allowed: rtol, atol, float64",
        "    rtoll=1,",
    ),
    "tolerance for a type that has none": (
        "def stand_in(",
        'tolerance = {"float32": 1e-3}\n\ndef stand_in(',
        "unknown key 'float32' in tolerance; allowed: rtol, atol, float64",
        "float32",
    ),
    "tolerance that is no number": (
        "def stand_in(",
        'tolerance = dict(rtol="small")\n\ndef stand_in(',
        "rtol in tolerance is not a number; write it out: rtol=1e-4",
        "small",
    ),
    "tolerance that is worked out": (
        "def stand_in(",
        "tolerance = stand_in(1, 2)\n\ndef stand_in(",
        "tolerance is not written out; write tolerance = dict(rtol=1e-3, atol=1e-4)",
        "tolerance = stand_in",
    ),
    "tolerance said twice": (
        "def stand_in(",
        "tolerance = dict(rtol=1)\ntolerance = dict(atol=1)\n\ndef stand_in(",
        "judge 'twice' defines tolerance more than once; keep one",
        "tolerance = dict(rtol=1)",
    ),
    "tolerance changed later": (
        "def stand_in(",
        'tolerance = dict(rtol=1)\ntolerance["atol"] = 1\n\ndef stand_in(',
        "judge 'twice' does something besides defining names; do it in ask or drive",
        'tolerance["atol"] = 1',
    ),
    "judge's setting misspelt": (
        "def stand_in(",
        "tolerence = dict(rtol=1)\n\ndef stand_in(",
        "judge 'twice' defines 'tolerence', which nothing reads; a judge has ask, drive, accept, "
        "tolerance, parts, relies, and what its functions use",
        "tolerence",
    ),
    "stricter than the contract": (
        "def stand_in(",
        "tolerance = dict(float64=1e-9)\n\ndef stand_in(",
        "judge 'twice' is stricter than the common contract; say which words of the exercise's",
        '# %% judge="twice"',
    ),
    "relies on what is not told": (
        "def stand_in(",
        "tolerance = dict(atol=1e-9)\nrelies = 'in double precision'\n\ndef stand_in(",
        "judge 'twice' relies on words that its exercise's card does not have: "
        "'in double precision'; write them there, or ask for less",
        '# %% judge="twice"',
    ),
    "judge's function misspelt": (
        "def stand_in(",
        "def accepts(answer, expected):\n    return True\n\ndef stand_in(",
        "judge 'twice' defines 'accepts', which nothing reads",
        "def accepts",
    ),
    "input of a driver misspelt": (
        'Case("four numbers", x=',
        'Case("four numbers", y=',
        "a case of judge 'twice' has 'y', which is no input; inputs here: x; the one setting",
        'Case("four numbers", y=',
    ),
    "input of an exercise misspelt": (
        "factor=float(",
        "scale=float(",
        "a case of judge 'scale' has 'scale', which is no input; inputs here: x, factor",
        "scale=float(",
    ),
    "tolerance of a case": (
        'Case("four numbers", x=',
        'Case("four numbers", rtol=1e-2, x=',
        "a case of judge 'twice' has 'rtol', which is no input",
        "rtol=1e-2",
    ),
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
    assert isinstance(error, LabError)
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
    path.write_text(text.split("# ---\n", 2)[2])
    with pytest.raises(SourceError, match="no lab number"):
        read_lab(path)


def test_what_a_judge_says_is_read(mini_path, tmp_path):
    path = tmp_path / "90_mini.py"
    text = mini_path.read_text()
    for said in ("dict(rtol=1e-2, float64=1e-9)", '{"rtol": 1e-2, "float64": 1e-9}'):
        stated = f"tolerance = {said}\nrelies = 'twice'\n\ndef stand_in("
        path.write_text(text.replace("def stand_in(", stated))
        lab = read_lab(path)
        assert lab.one("judge", "twice").tolerance == Tolerance(1e-2, Tolerance().atol, 1e-9)
        assert lab.one("judge", "scale").tolerance == Tolerance()


def test_the_header_is_read(mini_path, tmp_path):
    path = tmp_path / "90_mini.py"
    said = "#   minutes: 20\n#   masks: [models/vit.py]\n#   title:"
    path.write_text(mini_path.read_text().replace("#   title:", said))
    lab = read_lab(path)
    assert (lab.minutes, lab.masks) == (20, ("models/vit.py",))
    assert (read_lab(mini_path).minutes, read_lab(mini_path).masks) == (None, ())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_minutes_are_about_those_of_the_title_card(path):
    """The card's rows are in fives; together they are within a quarter of an hour of the header."""
    lab = read_lab(path)
    card = next(c.source for c in lab.of("prose") if "| minutes |" in c.source)
    form = re.compile(r"\|.*\| (\d+) \| (\d+) \| (?:easy|medium|hard) \|")
    rows = [form.fullmatch(line) for line in card.splitlines()]
    points, minutes = zip(*((int(r[1]), int(r[2])) for r in rows if r))
    assert sum(points) == lab.points
    assert lab.minutes is not None and abs(sum(minutes) - lab.minutes) <= 15


def test_labs_are_found_by_number_or_name(mini_path):
    folder = mini_path.parent
    assert find_labs(folder) == find_labs(folder, ["90"]) == find_labs(folder, ["90_mini"])
    with pytest.raises(FileNotFoundError, match="no lab '77'.*there are 90_mini"):
        find_labs(folder, ["77"])
