"""Family 4, first half: damaged and lying notebooks keep what the code in them is worth."""

import copy

import nbformat
import pytest
from attack import HONEST
from nbformat.v4 import new_code_cell, new_markdown_cell

from labsupport.grading.submission.realign import realign


def at(notebook, name):
    return next(c for c in notebook.cells if c.id == name)


def place(notebook, name):
    return notebook.cells.index(at(notebook, name))


def strip(notebook):
    for index, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"colab-{index}", nbformat.from_dict({})


def delete_graded(notebook):
    gone = ("judge-scale", "check-scale", "judge-twice", "answer-why")
    notebook.cells = [c for c in notebook.cells if c.id not in gone]


def delete_setup(notebook):
    notebook.cells = [c for c in notebook.cells if "torch" not in c.source or "def" in c.source]


def duplicate_graded(notebook):
    for name in ("judge-scale", "check-twice"):
        notebook.cells.insert(place(notebook, name), copy.deepcopy(at(notebook, name)))


def duplicate_exercise(notebook):
    copied = copy.deepcopy(at(notebook, "exercise-scale"))
    copied.source = HONEST
    at(notebook, "exercise-scale").source = HONEST.replace("*", "+")
    notebook.cells.append(copied)  # the later cell wins, as it did for the student


def split_inside(notebook):
    cell = at(notebook, "exercise-scale")
    first, second = HONEST.split("\n", 1)
    rest = copy.deepcopy(cell)
    cell.source, rest.source, rest.id = first, second, "split-off"
    notebook.cells.insert(place(notebook, "exercise-scale") + 1, rest)


def split_off_a_helper(notebook):
    at(notebook, "exercise-scale").source = "def scale(x, factor):\n    return product(x, factor)"
    helper = new_code_cell("def product(a, b):\n    return a * b", id="helper")
    notebook.cells.insert(place(notebook, "exercise-scale"), helper)


def merge(notebook):
    other = at(notebook, "exercise-twice")
    at(notebook, "exercise-scale").source += "\n\n" + other.source
    notebook.cells.remove(other)


def reverse(notebook):
    notebook.cells.reverse()


def retype(notebook):
    cell = at(notebook, "exercise-scale")
    notebook.cells[notebook.cells.index(cell)] = nbformat.from_dict(
        {"cell_type": "raw", "id": cell.id, "metadata": cell.metadata, "source": cell.source}
    )
    why = at(notebook, "answer-why")
    notebook.cells[notebook.cells.index(why)] = nbformat.from_dict(
        {
            "cell_type": "code",
            "id": why.id,
            "metadata": why.metadata,
            "source": why.source,
            "outputs": [
                {
                    "output_type": "execute_result",
                    "data": {"text/plain": "100"},
                    "execution_count": 1,
                    "metadata": {},
                }
            ],
            "execution_count": 1,
        }
    )


def edit_given(notebook):
    setup = next(c for c in notebook.cells if c.source == "import torch")
    setup.source = "import torch\nimport math as helper"
    at(notebook, "exercise-scale").source = HONEST.replace("* factor", "* helper.prod([factor])")


def lie_in_metadata(notebook):
    judge = at(notebook, "judge-scale").metadata.nbgrader
    judge.update(points=1000, grade_id="judge-twice", locked=False, solution=True, schema_version=9)
    at(notebook, "judge-twice").metadata.nbgrader = "points: 1000"
    at(notebook, "exercise-twice").metadata.labsupport = {"kind": "experiment"}
    at(notebook, "check-scale").metadata.nbgrader = {
        "grade": True,
        "grade_id": "bonus",
        "points": 99,
        "locked": True,
    }
    notebook.metadata.kernelspec = {"name": "bash", "display_name": "x", "language": "bash"}
    notebook.metadata.labsupport_grading = {"verdicts": [{"exercise": "scale", "points": 99}]}


def collide(notebook):
    for index, cell in enumerate(notebook.cells):
        if index % 2:
            cell.id = notebook.cells[index - 1].id


def own_cells_with_the_labs_ids(notebook):
    thief = new_code_cell("2.0", id="judge-scale", metadata={"labsupport": {"kind": "judge"}})
    at(notebook, "judge-scale").id = "elsewhere"
    notebook.cells.insert(0, thief)


DAMAGE = [
    strip,
    delete_graded,
    delete_setup,
    duplicate_graded,
    duplicate_exercise,
    split_inside,
    split_off_a_helper,
    merge,
    reverse,
    retype,
    edit_given,
    lie_in_metadata,
    collide,
    own_cells_with_the_labs_ids,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
def test_full_marks_are_kept_where_the_code_is_intact(damage, perfect, released, hand_in):
    notebook = copy.deepcopy(perfect)
    damage(notebook)
    graded, _ = hand_in(notebook)
    assert [(v.status, v.points) for v in graded.verdicts] == [("passed", 2), ("passed", 1.5)]
    repairs = graded.notebook.metadata["labsupport_grading"]["repairs"]
    untouched = damage in (split_off_a_helper,)
    assert bool(repairs) != untouched
    if repairs:
        assert "Repaired before grading" in graded.notebook.cells[0].source
    nbformat.validate(graded.notebook)
    aligned, _ = realign(notebook, released)
    assert [c.id for c in aligned.cells if c.metadata.get("nbgrader")] == [
        c.id for c in released.cells if c.metadata.get("nbgrader")
    ]
    for cell in released.cells:
        if "nbgrader" in cell.metadata:
            assert at(aligned, cell.id).metadata == cell.metadata
            assert at(aligned, cell.id).cell_type == cell.cell_type
    assert aligned.metadata == released.metadata


def test_an_intact_submission_is_left_as_it_is(perfect, released):
    aligned, repairs = realign(copy.deepcopy(perfect), released)
    assert repairs == [] and aligned == perfect


def test_the_same_damage_gives_the_same_notebook(perfect, released):
    for damage in DAMAGE:
        one, other = copy.deepcopy(perfect), copy.deepcopy(perfect)
        damage(one), damage(other)
        assert realign(one, released) == realign(other, released)


def test_the_stub_comes_back_only_where_nothing_defines_it(perfect, released):
    notebook = copy.deepcopy(perfect)
    notebook.cells = [c for c in notebook.cells if c.id != "exercise-scale"]
    aligned, repairs = realign(notebook, released)
    assert "raise NotImplementedError" in at(aligned, "exercise-scale").source
    assert repairs == ["exercise-scale was missing and has been put back"]


def test_written_answers_keep_text_and_pictures(perfect, released):
    notebook = copy.deepcopy(perfect)
    text = "Because ![a](attachment:a.png) ![b](attachment:b.svg) ![c](attachment:c.png)."
    at(notebook, "answer-why").source = text
    at(notebook, "answer-why").attachments = {
        "a.png": {"image/png": "aGk="},
        "b.svg": {"image/svg+xml": "<svg onload=x>"},
        "c.png": {"image/png": '"><script>'},
    }
    strip(notebook)
    notebook.cells.append(new_markdown_cell("a note", id="note"))
    aligned, _ = realign(notebook, released)
    answer = at(aligned, "answer-why")
    assert answer.source.startswith("Because ![a](attachment:picture-")
    assert answer.source.count("no picture here") == 2
    assert list(answer.attachments.values()) == [{"image/png": "aGk="}]
    assert aligned.cells[-1].source == "a note"


def test_a_question_asked_early_gives_away_no_stand_in(perfect, hand_in):
    notebook = copy.deepcopy(perfect)
    peek = (
        "from labsupport.answers.wire import decode\n"
        "def scale(x, factor):\n"
        "    names = {}\n"
        "    for source in In:\n"
        "        asks = source.startswith('from labsupport.answers.respond')\n"
        "        if asks and 'stand_in' in source:\n"
        "            text = eval(source.split('\\n_respond(', 1)[1].strip()[:-1])\n"
        "            exec(decode(text)['driver'], names)\n"
        "    return names['stand_in'](x, factor) if names else x\n"
    )
    at(notebook, "exercise-scale").source = peek
    judge = at(notebook, "judge-twice")
    notebook.cells.remove(judge)
    notebook.cells.insert(0, judge)
    graded, _ = hand_in(notebook)
    assert [v.status for v in graded.verdicts] == ["failed", "passed"]
