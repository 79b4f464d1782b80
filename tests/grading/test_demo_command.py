"""``labs demo``: one lab's class unless more are asked for, and where to look at the end."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labsupport.cli import app, demo
from labsupport.errors import LabError, SandboxError
from labsupport.grading.ledger import grades
from labsupport.grading.running.sandbox import visible
from labsupport.grading.workers import forks

run = CliRunner()


@pytest.fixture
def checkout(tmp_path, mini_path, monkeypatch):
    """A checkout with two small labs, 01 and 90."""
    top = tmp_path / "checkout"
    (top / "solutions").mkdir(parents=True)
    text = mini_path.read_text(encoding="utf-8")
    (top / "solutions" / "90_mini.py").write_text(text)
    (top / "solutions" / "01_small.py").write_text(text.replace('number: "90"', 'number: "01"'))
    monkeypatch.setattr(demo, "root", lambda: top)
    return top


@pytest.mark.slow
def test_it_ends_with_table_page_and_report(checkout, tmp_path):
    folder = tmp_path / "course"
    result = run.invoke(app, ["demo", str(folder)])
    assert result.exit_code == 0, result.output
    assert [path.name for path in (folder / "labs").glob("*.py")] == ["01_small.py"]
    table, places = result.output.split("grades    ")
    assert re.search(r"01 +perfect ", table) and "trap-adds" in table
    found = dict(re.findall(r"^(for example|report) +(/.*)$", places, re.M))
    page, report = (Path(found[name]) for name in ("for example", "report"))
    assert page.is_file() and page.parts[-3].startswith("trap-")
    assert report == folder / "report" / "01_small.html" and report.is_file()


def test_without_bubblewrap_it_says_once_what_that_means(checkout, tmp_path, monkeypatch):
    asked = {}

    def missing():
        raise SandboxError("bubblewrap is missing")

    def grade(folder, labs, progress, sandbox, jobs):
        asked.update(sandbox=sandbox, labs=sorted(p.stem for p in (folder / "labs").glob("*.py")))
        raise LabError("far enough")

    monkeypatch.setattr(visible, "bubblewrap", missing)
    monkeypatch.setattr(grades, "grade_course", grade)
    monkeypatch.setattr(forks, "prepare_workers", lambda: None)
    result = run.invoke(app, ["demo", str(tmp_path / "course"), "--lab", "all"])
    assert result.output.count("bubblewrap is missing") == 1
    assert "The demo grades its own code, so it goes on without." in result.output
    assert asked == {"sandbox": False, "labs": ["01_small", "90_mini"]}
