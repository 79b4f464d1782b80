"""The command's errors are one line with the mend, and its help shows how."""

import pytest
from typer.testing import CliRunner

from labsupport.cli import app

run = CliRunner()

MISTAKES = {
    "no course": (["grade", "{tmp}"], "is no course directory: make one with 'labs course init'"),
    "unknown lab": (["build", "77"], "no lab '77'"),
    "course twice": (["course", "init", "{tmp}/c"], "nothing was changed"),
    "demo in a full folder": (["demo", "{tmp}/c"], "is not empty"),
    "demo in the checkout": (["demo", "{root}/class"], "a class lives outside of it"),
    "no notebook": (["check", "{tmp}/none.ipynb"], "does not exist"),
    "nothing handed in": (["grade", "{tmp}/c"], "nothing to grade"),
    "collect from nowhere": (["collect", "{tmp}/c", "{tmp}/none.zip"], "does not exist"),
    "collect into no course": (["collect", "{tmp}", "{tmp}/c"], "is no course directory"),
    "collect for no lab": (["collect", "{tmp}/c", "{tmp}", "77"], "no lab '77'"),
    "report on nothing": (["report", "{tmp}/c"], "nothing was handed in"),
    "unknown experiment": (["experiment", "01", "nothing"], "no experiment"),
}


@pytest.fixture
def place(tmp_path, root, monkeypatch):
    monkeypatch.chdir(root)
    assert run.invoke(app, ["course", "init", str(tmp_path / "c")]).exit_code == 0
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(mistake, place, root):
    words, message = MISTAKES[mistake]
    result = run.invoke(app, [w.format(tmp=place, root=root) for w in words])
    assert result.exit_code == 1
    assert message in result.output and len(result.output.strip().splitlines()) == 1


def test_help_shows_examples():
    for words in (
        ["build"],
        ["grade"],
        ["check"],
        ["demo"],
        ["course", "init"],
        ["collect"],
        ["report"],
    ):
        assert "Example: labs" in " ".join(run.invoke(app, [*words, "--help"]).output.split())
