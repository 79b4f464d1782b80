"""Cells as people leave them: answers beside their cells, copied stubs, edited set-up cells,
pasted pictures. No kernel: notebook in, the lab's form out.
"""

import base64
import copy
import itertools
from urllib.parse import quote

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell

from labsupport.course.build import student_notebook
from labsupport.course.source import read_lab
from labsupport.grading.demo import solve
from labsupport.grading.submission.given_cells import edit_of
from labsupport.grading.submission.pictures import with_pictures
from labsupport.grading.submission.realign import realign
from labsupport.grading.submission.sanitise import MAX_TEXT, clean_markdown

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
WEBP = base64.b64encode(b"RIFF\0\0\0\0WEBPVP8 " + bytes(20)).decode()


@pytest.fixture(scope="module")
def lab(mini_path):
    return read_lab(mini_path)


@pytest.fixture(scope="module")
def master(lab):
    return student_notebook(lab)


@pytest.fixture
def solved(lab, master):
    return solve(master, lab)


def place(notebook, name):
    return next(i for i, c in enumerate(notebook.cells) if c.id == name)


def cell(notebook, name):
    return notebook.cells[place(notebook, name)]


def stub(master, name):
    return cell(master, name).source


def aligned(submitted, master):
    result, repairs = realign(submitted, master)
    nbformat.validate(copy.deepcopy(result))
    return result, repairs


def test_a_solved_notebook_needs_no_repair(solved, master):
    assert aligned(solved, master)[1] == []
    assert aligned(master, master)[1] == []


# ---- the answer stands beside its cell


def beside(solved, master, *cells, at=1):
    """The placeholder left, and cells put in after it (``at`` 0: before it)."""
    cell(solved, "answer-why").source = stub(master, "answer-why")
    where = place(solved, "answer-why") + at
    solved.cells[where:where] = list(cells)
    return aligned(solved, master)


def test_the_one_new_cell_below_is_the_answer(solved, master):
    result, repairs = beside(solved, master, new_markdown_cell("Because.", id="mine"))
    assert cell(result, "answer-why").source == "Because."
    assert "mine" not in [c.id for c in result.cells]
    assert repairs == ["answer-why was left as released: the cell below it was taken for it"]


@pytest.mark.parametrize(
    "cells, at",
    [
        ([new_markdown_cell("Because."), new_markdown_cell("And so.")], 1),
        ([new_markdown_cell("Because.")], 0),
        ([new_code_cell("Scaling multiplies each value by the factor, so")], 1),
        ([new_code_cell("# Scaling multiplies each value by the factor")], 1),
    ],
)
def test_less_certain_answers_are_for_a_person(solved, master, cells, at):
    result, repairs = beside(solved, master, *copy.deepcopy(cells), at=at)
    answer = cell(result, "answer-why").source
    assert answer != stub(master, "answer-why") and "beside it" in answer
    assert all(c.source in [r.source for r in result.cells] for c in cells)
    assert "a person will look" in repairs[0]


def test_an_answer_at_the_end_or_by_name_is_for_a_person(solved, master):
    solved.cells.insert(1, new_markdown_cell("why: because."))
    assert "a person will look" in beside(solved, master)[1][0]


def test_an_answered_question_keeps_its_answer_and_blank_ones_stay_blank(solved, master):
    own = new_markdown_cell("A note.", id="mine")
    solved.cells.insert(place(solved, "answer-why") + 1, own)
    result, repairs = aligned(solved, master)
    assert cell(result, "mine").source == "A note." and repairs == []
    blank = copy.deepcopy(master)
    blank.cells.insert(2, new_code_cell("x = 3"))
    assert cell(aligned(blank, master)[0], "answer-why").source == stub(master, "answer-why")


# ---- code beside its cell

GOOD = "def twice(x):\n    return x + x"


@pytest.mark.parametrize("where", ["below", "above", "after its judge", "at the end", "at the top"])
def test_an_attempt_counts_from_wherever_it_stands(solved, master, where):
    cell(solved, "exercise-twice").source = stub(master, "exercise-twice")
    at = {
        "below": place(solved, "exercise-twice") + 1,
        "above": place(solved, "exercise-twice"),
        "after its judge": place(solved, "judge-twice") + 1,
        "at the end": len(solved.cells),
        "at the top": 0,
    }[where]
    cells = [new_code_cell("helper = 1", id="helper"), new_code_cell(GOOD, id="mine")]
    solved.cells[at:at] = cells
    result, repairs = aligned(solved, master)
    ids = [c.id for c in result.cells]
    assert ids.index("mine") == ids.index("helper") + 1 < ids.index("check-twice")
    assert "NotImplementedError" not in cell(result, "exercise-twice").source
    assert any("twice of another cell was taken" in r for r in repairs)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_a_copy_of_the_stub_never_wins(solved, master, marked, after):
    spare = copy.deepcopy(cell(master, "exercise-twice"))
    spare.id = "copied"
    if not marked:
        spare.metadata = {}
    solved.cells.insert(place(solved, "exercise-twice") + after, spare)
    result, repairs = aligned(solved, master)
    assert "NotImplementedError" not in "".join(c.source for c in result.cells)
    assert "a copy of exercise-twice as it was released was left out" in repairs


def test_a_stub_that_a_formatter_has_changed_is_a_stub(solved, master):
    spare = copy.deepcopy(cell(master, "exercise-twice"))
    spare.source = spare.source.replace('"""Return', "'''Return").replace('."""', ".'''")
    spare.id = "copied"
    solved.cells.insert(place(solved, "exercise-twice") + 1, spare)
    assert "NotImplementedError" not in "".join(c.source for c in aligned(solved, master)[0].cells)


def test_timing_an_exercise_costs_nothing(solved, master):
    source = cell(solved, "exercise-twice").source
    cell(solved, "exercise-twice").source = "%%timeit -n 3\n" + source
    result, repairs = aligned(solved, master)
    assert cell(result, "exercise-twice").source == source
    assert repairs == ["exercise-twice: %%timeit was left out"]


# ---- the set-up cell

OURS = "import json\nimport math\n\nimport torch\nfrom torch import nn\n\nSTEPS = {'a': 1}\n"


@pytest.mark.parametrize(
    "theirs",
    [
        OURS.replace("import json\nimport math", "import math, json"),
        OURS.replace("from torch import nn", "import torch.nn as nn"),
        OURS.replace("'a'", '"a"'),
        "from torch import nn\nimport torch\nimport math\nimport json\nSTEPS = {\n    'a': 1\n}",
        OURS + "# a note\n",
    ],
)
def test_what_a_formatter_does_is_no_edit(theirs):
    assert edit_of(theirs, OURS) is None


@pytest.mark.parametrize(
    "theirs, kept, put_back",
    [
        ("from einops import rearrange\n" + OURS, "from einops import rearrange", ""),
        (
            OURS.replace("import json\n", "from einops import rearrange\n"),
            "from einops import rearrange",
            "import json",
        ),
        (
            OURS.replace("1}", "2}") + "import os, sys\nhalf = 0.5\n",
            "import os\nimport sys\nhalf = 0.5",
            "STEPS = {'a': 1}",
        ),
        ("import os\nimport math as m(\n", "import os", ""),
    ],
)
def test_added_imports_are_kept_and_the_note_names_both(theirs, kept, put_back):
    edit = edit_of(theirs, OURS)
    assert edit.added == [kept]
    assert all(line in edit.note for line in kept.splitlines())
    assert f"put back: {put_back}" in edit.note if put_back else "put back" not in edit.note


def test_a_line_that_fails_takes_no_import_along():
    edit = edit_of(f"from google.colab import drive\ndrive.mount('/x')\nimport os\n{OURS}", OURS)
    assert edit.added == ["from google.colab import drive", "drive.mount('/x')", "import os"]


def test_an_import_never_takes_a_given_name_when_something_was_changed():
    edit = edit_of(OURS.replace("import torch\n", "import numpy as torch\n"), OURS)
    assert edit.added == [] and "left out: import numpy as torch" in edit.note


def test_an_edited_set_up_cell_is_said(solved, master):
    (name,) = (c.id for c in master.cells if "setup" in c.metadata.get("tags", []))
    cell(solved, name).source = "import einops"
    result, repairs = aligned(solved, master)
    assert result.cells[place(result, name) + 1].source == "import einops"
    assert repairs == [
        f"{name} was edited: the lab's own text has been put back, the added lines after it "
        "(kept after it: import einops; put back: import torch)"
    ]


# ---- pictures


def page(source, attachments):
    notebook = nbformat.v4.new_notebook(cells=[new_markdown_cell(source)])
    if attachments:
        notebook.cells[0].attachments = attachments
    return HTMLExporter().from_notebook_node(notebook)[0]


NAMES = [
    "image.png",
    "щенок.png",
    "image (1).png",
    "image[1].png",
    "Screenshot 2026-11-03 at 4.05.11\u202fPM.png",
    "a&b.png",
    "100%.png",
    "e\u0301.png",
]


@pytest.mark.parametrize("name, encoded", list(itertools.product(NAMES, [False, True])))
def test_a_picture_is_shown_whatever_its_name(name, encoded):
    text = f"See ![{name}](attachment:{quote(name) if encoded else name}) here."
    found = with_pictures(text, {name: {"image/png": PNG}})
    html = page(clean_markdown(found.source), found.attachments)
    assert f"data:image/png;base64,{PNG}" in html and "here." in html
    assert found.notes == []


@pytest.mark.parametrize(
    "text",
    [
        '![a](attachment:x.png "a title")',
        "![a](<attachment:x.png>)",
        '<img src="attachment:x.png" width="300">',
        "<div>\n<img width=300 src='attachment:x.png' alt='a'/>\n</div>",
        "<img src=attachment:x.png>",
        "![a][1]\n\n[1]: attachment:x.png",
        "![a][1]\n\n[1]: <attachment:x.png>",
        f"![a](data:image/png;base64,{PNG})",
        f'<img src="data:image/png;base64,{PNG}" alt="a">',
        f"![a][1]\n\n[1]: <data:image/png;base64,{PNG}>",
        "- an item\n- ![a](attachment:x.png)",
    ],
)
def test_a_picture_is_shown_however_it_is_referred_to(text):
    found = with_pictures(text, {"x.png": {"image/png": PNG}})
    html = page(clean_markdown(found.source), found.attachments)
    assert html.count(f'src="data:image/png;base64,{PNG}"') == 1
    assert found.notes == []


@pytest.mark.parametrize(
    "bundle, kind",
    [
        ({"image/webp": WEBP}, "image/webp"),
        ({"image/jpg": PNG}, "image/png"),
        ({"application/octet-stream": WEBP}, "image/webp"),
        ({"image/png": [PNG[:8] + "\n", PNG[8:]]}, "image/png"),
    ],
)
def test_a_picture_is_what_its_content_says(bundle, kind):
    found = with_pictures("![a](attachment:x)", {"x": bundle})
    assert f"data:{kind};base64," in page(clean_markdown(found.source), found.attachments)


@pytest.mark.parametrize(
    "text, attachments",
    [
        ("![a](attachment:x.png)", None),
        ("![a](attachment:x (1).png) end", {"y.png": {"image/png": PNG}}),
        ('<img src="attachment:x.png">', {}),
        ("![a](attachment:x.png)", {"x.png": {"image/png": "§"}}),
        ("![a](attachment:x.png)", {"x.png": {"text/html": "PGI+"}}),
        ("![a](attachment:x.png)", {"x.png": {}}),
        ("![a](attachment:x.png)", {"x.png": None}),
        ("![a](attachment:)", {"": {"image/png": PNG}}),
    ],
)
def test_a_reference_without_a_picture_is_a_note(text, attachments):
    found = with_pictures(f"Before. {text} After.", attachments)
    html = page(clean_markdown(found.source), found.attachments)
    assert "no picture here" in html and "Before." in html and "After." in html
    assert len(found.notes) == 1 and "not in the file" in found.notes[0]


def test_attachments_nobody_refers_to_are_no_harm(solved, master):
    cell(solved, "answer-why").attachments = {"x.png": {"image/png": PNG}, "y": None}
    result, repairs = aligned(solved, master)
    assert repairs == [] and PNG not in page(cell(result, "answer-why").source, {})


def test_two_cells_with_one_name_keep_two_pictures(solved, master):
    other = base64.b64encode(base64.b64decode(PNG) + b"\1").decode()
    first = cell(solved, "answer-why")
    first.source, first.attachments = (
        "![a](attachment:image.png)",
        {"image.png": {"image/png": PNG}},
    )
    again = copy.deepcopy(first)
    again.id, again.attachments = "split", {"image.png": {"image/png": other}}
    solved.cells.append(again)
    answer = cell(aligned(solved, master)[0], "answer-why")
    html = page(answer.source, answer.attachments)
    assert f"base64,{PNG}" in html and f"base64,{other}" in html


def test_pictures_are_kept_in_prose_and_in_own_cells(solved, master):
    for target in (solved.cells[0], new_markdown_cell("", id="mine")):
        target.source += "\n\n![a](attachment:image.png)"
        target.attachments = {"image.png": {"image/png": PNG}}
    solved.cells.append(target)
    result, repairs = aligned(solved, master)
    assert repairs == []
    for one in (result.cells[0], cell(result, "mine")):
        assert f"base64,{PNG}" in page(one.source, one.attachments)


def test_a_large_picture_cuts_no_text_and_a_cut_is_said():
    large = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(300_000)).decode()
    found = with_pictures(f"Before ![a](data:image/png;base64,{large}) after.")
    assert len(clean_markdown(found.source)) < 200
    assert found.source.endswith("after.")
    assert list(found.attachments.values()) == [{"image/png": large}]
    cut = clean_markdown("x" * (MAX_TEXT + 7))
    assert cut.endswith("*(cut here: 7 more characters)*")


def test_references_without_end_end(solved, master):
    solved.cells.append(new_markdown_cell("![a](attachment:b) " * 5000, id="mine"))
    result, repairs = aligned(solved, master)
    page(clean_markdown(cell(result, "mine").source), {})
    assert "more than 1,000 pictures" in repairs[-1]
