"""First cell of a notebook: it finds the package, installs it, or says in one line what to do."""

import subprocess
import sys
from importlib.machinery import ModuleSpec

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from labsupport.course.build import source_notebook, student_notebook
from labsupport.course.first_cells import is_first_cell
from labsupport.course.publication import Published
from labsupport.course.solve import refresh_prose, solved_notebook
from labsupport.grading.submission.realign import realign

GITHUB = Published("https://github.com/someone/labs", "term/2026")


def finder(lab, published=GITHUB):
    cells = student_notebook(lab, published).cells
    return next(c for c in cells if c.id == "find-package").source


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """A machine without the package, in a folder of its own; what pip was asked for, and whether it
    does its work."""

    class Pip:
        asked: list = []
        works = True
        seen_afterwards = True
        says = "a long story\nERROR: no network\n"

    pip, there = Pip(), []
    pip.asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: there[0] if there else None)

    def run(command, **about):
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        assert not {"--upgrade", "-U", "--force-reinstall"} & set(command)
        pip.asked.append(command[-1])
        if pip.works and pip.seen_afterwards:
            there.append(ModuleSpec("labsupport", None, origin="a place"))
        error = "" if pip.works else pip.says
        return subprocess.CompletedProcess(command, 0 if pip.works else 1, "", error)

    monkeypatch.setattr("subprocess.run", run)
    return pip


def said(source):
    """What a notebook shows for an error in a cell."""
    with pytest.raises(Exception) as info:
        exec(source, {})
    (line,) = info.value._render_traceback_()
    return line


def test_where_the_package_is_nothing_happens(mini, capsys):
    space: dict = {}
    exec(finder(mini), space)
    assert capsys.readouterr().out == "" and set(space) == {"__builtins__"}


def test_it_comes_from_where_it_is_published(mini, pip, capsys):
    exec(finder(mini), {})
    assert pip.asked == ["git+https://github.com/someone/labs@term/2026"]
    assert capsys.readouterr().out.count("\n") == 1


def test_else_from_the_wheel_beside_the_notebook(mini, pip, tmp_path):
    (tmp_path / "labsupport-0.1.0-py3-none-any.whl").touch()
    exec(finder(mini, Published()), {})
    assert pip.asked == ["labsupport-0.1.0-py3-none-any.whl"]


def test_the_wheel_is_taken_where_the_address_fails(mini, pip, tmp_path):
    (tmp_path / "labsupport-0.1.0-py3-none-any.whl").touch()
    pip.works = False
    assert "no network" in said(finder(mini))
    assert pip.asked == [GITHUB.source, "labsupport-0.1.0-py3-none-any.whl"]


def test_the_reason_is_told_and_not_what_pip_says_last(mini, pip):
    pip.works = False
    pip.says = "  fatal: unable to access it\n  note: this is not a problem with pip\n"
    assert (
        said(finder(mini)) == f"{GITHUB.source} could not be installed: fatal: unable to access it"
    )


def test_else_one_line_says_what_to_do(mini, pip, tmp_path):
    line = said(finder(mini, Published()))
    assert str(tmp_path) in line and "labsupport-....whl" in line and "\n" not in line
    assert pip.asked == []


def test_a_folder_of_that_name_is_not_the_package(mini, pip, monkeypatch):
    empty = ModuleSpec("labsupport", None)  # as for any folder without __init__.py
    monkeypatch.setattr("importlib.util.find_spec", lambda name: empty)
    assert "restart the kernel" in said(finder(mini))
    assert pip.asked == [GITHUB.source]


def test_what_is_installed_and_not_seen_needs_a_new_kernel(mini, pip):
    pip.seen_afterwards = False
    assert "restart the kernel" in said(finder(mini))


def test_a_notebook_shows_that_line_alone_and_stops(mini, pip, capsys):
    shell = InteractiveShell.instance()
    result = shell.run_cell(finder(mini, Published()))
    assert not result.success  # so a run of all cells ends here
    (line,) = capsys.readouterr().out.strip().splitlines()
    assert line.startswith("The course's package, labsupport, is not installed here")


def test_it_stands_first_and_folded(mini):
    badge, title, find, *_ = student_notebook(mini, GITHUB).cells
    assert "someone/labs/blob/term/2026/notebooks/90_mini.ipynb" in badge.source
    assert title.source.startswith("# ") and find.id == "find-package"
    assert find.source.startswith("# @title Run this first")
    assert find.metadata.jupyter.source_hidden and find.metadata.cellView == "form"
    unpublished = student_notebook(mini, Published()).cells
    assert [c.id for c in unpublished[:2]] == [title.id, "find-package"]


def test_grading_leaves_it_out(mini):
    """Of whatever release it is, and whatever a learning platform has done to its metadata."""
    master = student_notebook(mini)
    assert "find-package" not in [c.id for c in master.cells]
    for published in (GITHUB, Published()):
        handed_in = student_notebook(mini, published)
        for cell in handed_in.cells:
            if is_first_cell(cell.source):
                cell.metadata, cell.id = {}, f"{cell.id}-new"
        aligned, repairs = realign(handed_in, master)
        assert repairs == [] and [c.id for c in aligned.cells] == [c.id for c in master.cells]


def test_what_a_student_wrote_into_it_is_kept(mini):
    handed_in = student_notebook(mini, GITHUB)
    find = next(c for c in handed_in.cells if c.id == "find-package")
    find.source += "\n\ndef helper():\n    return 1"
    aligned, _ = realign(handed_in, student_notebook(mini))
    assert sum("def helper" in c.source for c in aligned.cells) == 1
    assert not is_first_cell("def find_or_install(:\n") and not is_first_cell("x = 1")


def test_a_new_address_needs_no_new_run_of_the_solutions(mini, tmp_path):
    executed = tmp_path / "90_mini.ipynb"
    nbformat.write(solved_notebook(mini, Published()), executed)
    assert refresh_prose(mini, executed, GITHUB)
    cells = nbformat.read(executed, as_version=4).cells
    assert [c.source for c in cells] == [c.source for c in solved_notebook(mini, GITHUB).cells]
    assert GITHUB.source in "".join(c.source for c in cells)
    assert "find-package" not in [c.id for c in source_notebook(mini).cells]
