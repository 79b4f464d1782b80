"""A lab that could not be read aloud is refused where it is built, with the line and the mend."""

import pytest

from labsupport.course.build import build_notebook, student_notebook
from labsupport.course.lab import SourceError
from labsupport.course.readable import NAMED_BOX, check_readable
from labsupport.course.source import find_labs, read_lab
from labsupport.notebook.plot.charts import Table
from tests.conftest import ROOT

TITLE = "# # A small lab\n"


@pytest.fixture
def lab_with(mini_path, tmp_path):
    def make(lines: str):
        path = tmp_path / "90_mini.py"
        text = mini_path.read_text()
        assert TITLE in text
        path.write_text(text.replace(TITLE, f"{TITLE}#\n{lines}#\n"))
        return read_lab(path)

    return make


REFUSED = {
    "# | | seconds |\n# |:--|:--|\n# | a | 1 |\n": "head without a word",
    "# a | | b\n# --|--|--\n# 1 | 2 | 3\n": "head without a word",
    "# #### Too deep\n#\n# ## Section\n": "a heading of level 4 after one of level 1",
    "# ### A\n#\n# ##### B\n": "a heading of level 5 after one of level 3",
    "# # Another\n": "a second title",
    "# ## Exercise · ●○○\n": "circles say how hard",
}


@pytest.mark.parametrize("lines", REFUSED)
def test_what_cannot_be_read_aloud_is_refused_with_its_line(lab_with, lines, tmp_path):
    lab = lab_with(lines)
    with pytest.raises(SourceError, match=REFUSED[lines]) as refused:
        build_notebook(lab, tmp_path)
    worst = lines.splitlines()[2 if lines.startswith("# ### A") else 0]
    line = lab.path.read_text().splitlines().index(worst) + 1
    assert f":{line}:" in str(refused.value)


ALLOWED = (
    "# | a | b |\n# |:--|:--|\n# | | 2 |\n",  # an empty cell is no head
    "# ```\n# | | |\n# |--|--|\n# # a comment\n# ```\n",  # code
    "# ## One\n#\n# ### Two\n#\n# ## Three\n",
    "# | a \\| b | c |\n# |:--|:--|\n",
)


@pytest.mark.parametrize("lines", ALLOWED)
def test_what_can_is_built(lab_with, lines):
    check_readable(lab_with(lines))


def test_the_box_of_a_card_gets_its_heads_from_the_builder(lab_with):
    lab = lab_with("# | | |\n# |:--|:--|\n# | **Read** | the paper |\n")
    check_readable(lab)
    sources = [cell.source for cell in student_notebook(lab).cells]
    assert any(f"{NAMED_BOX}\n|:--|:--|\n| **Read**" in source for source in sources)
    assert not any("| | |" in source for source in sources)


@pytest.mark.parametrize("path", find_labs(ROOT / "solutions"), ids=lambda path: path.stem)
def test_every_lab_can_be_read_aloud(path):
    check_readable(read_lab(path))


def test_a_table_of_results_has_a_name_for_every_column():
    with pytest.raises(ValueError, match="columns: one has no name"):
        Table(["", "seconds"], [["a", 1]])
    assert '<th scope="col" style=' in Table(["a"], [[1]])._repr_html_()
    assert "</th>" in Table(["a"], [[1]])._repr_html_()
