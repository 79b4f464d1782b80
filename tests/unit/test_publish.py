"""The course's address: refused or written, and what README, badges and commands make of it."""

import shutil
import sys

import pytest
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.course import installing, publication
from labsupport.course.installing import how_to_install
from labsupport.course.publication import Published, published_at, published_here, readme_section
from labsupport.errors import LabError
from tests.conftest import ROOT

run = CliRunner()
ADDRESS = "https://github.com/someone/labs"
WHEEL = "https://example.org/vit/labsupport-0.1.0-py3-none-any.whl"


def flat(output):
    """What a command said, wherever its lines were broken."""
    return " ".join(output.split())


@pytest.fixture
def copy(tmp_path, mini_path, monkeypatch):
    """A checkout with the small lab only."""
    top = tmp_path / "checkout"
    for name in ("solutions", "labsupport"):
        (top / name).mkdir(parents=True)
    shutil.copy(mini_path, top / "solutions")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, top)
    monkeypatch.chdir(top)
    assert run.invoke(app, ["publish", ""]).exit_code == 0
    return top


def test_publish_writes_address_badges_and_cells(copy):
    before = (copy / "pyproject.toml").read_text()
    result = run.invoke(app, ["publish", ADDRESS, "--branch", "term/2026"])
    assert result.exit_code == 0, result.output
    assert published_at(copy) == Published(ADDRESS, "term/2026")
    badge = "colab.research.google.com/github/someone/labs/blob/term/2026/notebooks/90_mini.ipynb"
    notebook = (copy / "notebooks" / "90_mini.ipynb").read_text()
    assert badge in notebook and f"git+{ADDRESS}@term/2026" in notebook
    readme = (copy / "README.md").read_text()
    assert badge in readme and f"pip install 'labsupport @ git+{ADDRESS}@term/2026'" in readme
    assert run.invoke(app, ["publish", ""]).exit_code == 0
    assert (copy / "pyproject.toml").read_text() == before  # and nothing else was changed in it
    assert "colab-badge" not in (copy / "notebooks" / "90_mini.ipynb").read_text()


def test_a_wheel_has_no_badge(copy):
    result = run.invoke(app, ["publish", WHEEL])
    assert result.exit_code == 0 and "labs bundle" in result.output
    assert "there is no badge: upload a notebook" in flat(result.output)
    notebook = (copy / "notebooks" / "90_mini.ipynb").read_text()
    assert f'find_or_install(\\"{WHEEL}\\")' in notebook and "colab-badge" not in notebook


def test_elsewhere_than_on_github_it_is_said_why_there_is_no_badge(copy):
    """Colab takes notebooks from GitHub's addresses only."""
    result = run.invoke(app, ["publish", "https://gitlab.com/someone/labs", "--branch", "term"])
    assert result.exit_code == 0 and "from github.com only, so there is no badge" in result.output
    notebook = (copy / "notebooks" / "90_mini.ipynb").read_text()
    assert "git+https://gitlab.com/someone/labs@term" in notebook and "colab-badge" not in notebook
    readme = (copy / "README.md").read_text()
    inside = readme.split("<!-- colab -->\n")[1].split("\n<!-- /colab -->")[0]
    assert "upload a notebook" in inside and "colab.research" not in inside
    assert "no badge" not in run.invoke(app, ["publish", ADDRESS]).output


@pytest.mark.parametrize(
    "address, branch, where",
    [
        (ADDRESS, "main", "someone/labs/blob/main"),
        (f"{ADDRESS}.git", "term-2026", "someone/labs/blob/term-2026"),
        (f"{ADDRESS}/", "main", "someone/labs/blob/main"),
    ],
)
def test_a_badge_leads_to_the_notebook_on_its_branch(address, branch, where):
    link = Published(address, branch).badge("01_vit").rpartition("](")[2]
    place = f"https://colab.research.google.com/github/{where}/notebooks/01_vit.ipynb"
    assert link == f"{place})"


@pytest.mark.parametrize(
    "address",
    [f"{ADDRESS}/tree/main", "https://github.com/someone", f"{ADDRESS}/blob/main/x.ipynb"],
)
def test_a_page_of_githubs_is_no_repository(address):
    with pytest.raises(LabError, match="give https://github.com/OWNER/NAME, and a branch"):
        Published(address)
    assert Published(f"{ADDRESS}/releases/download/v1/labsupport-1-py3-none-any.whl").slug == ""


def test_a_builders_address_stays_after_a_build(copy):
    run.invoke(app, ["publish", ADDRESS])
    before = (copy / "notebooks" / "90_mini.ipynb").read_bytes()
    assert run.invoke(app, ["build"]).exit_code == 0
    assert (copy / "notebooks" / "90_mini.ipynb").read_bytes() == before


@pytest.mark.parametrize(
    "url",
    ["ftp://x/y", "http://x/y", "https://x", 'https://x/"y', "https://x/y z", "https://me:key@x/y"],
)
def test_what_is_no_address_is_refused_and_nothing_written(copy, url):
    before = (copy / "pyproject.toml").read_text()
    result = run.invoke(app, ["publish", url])
    assert result.exit_code == 1 and "is no address to publish at" in result.output
    assert run.invoke(app, ["publish", ADDRESS, "--branch", "a b"]).exit_code == 1
    assert (copy / "pyproject.toml").read_text() == before


def test_a_wrong_address_in_the_file_is_named_with_the_file(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.labsupport]\nrepository = "ftp://x"\n')
    with pytest.raises(LabError, match="pyproject.toml: 'ftp://x' is no address"):
        published_at(tmp_path)


def test_the_readme_says_how_where_there_is_no_address():
    words = readme_section(Published(), ["90_mini"])
    assert "`labs publish " in words and "`labs bundle`" in words
    text = (ROOT / "README.md").read_text()
    inside = text.split("<!-- colab -->\n")[1].split("\n<!-- /colab -->")[0]
    stems = sorted(path.stem for path in (ROOT / "solutions").glob("[0-9][0-9]_*.py"))
    assert inside == readme_section(published_at(ROOT), stems), "run: labs build"


def test_how_to_install_from_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert how_to_install("grading") == f"pip install -e '{ROOT}[grading]'"
    monkeypatch.chdir(ROOT)
    assert how_to_install("grading") == "pip install -e '.[grading]'"


def test_how_to_install_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(installing, "CHECKOUT", tmp_path)
    monkeypatch.setattr(publication, "CHECKOUT", tmp_path)
    assert how_to_install("grading").startswith("pip install 'labsupport-....whl[grading]'")
    wheel = tmp_path / "labsupport-0.1.0-py3-none-any.whl"
    monkeypatch.setattr(installing, "_wheel", lambda: wheel)
    assert how_to_install("grading") == f"pip install '{wheel}[grading]'"
    inside = tmp_path / "inside" / "pyproject.toml"
    inside.parent.mkdir()
    inside.write_text(f'[tool.labsupport]\nrepository = "{ADDRESS}"\n')
    monkeypatch.setattr(publication, "IN_WHEEL", inside)
    assert published_here() == Published(ADDRESS)
    assert how_to_install("grading") == f"pip install 'labsupport[grading] @ git+{ADDRESS}@main'"


def test_the_name_alone_is_suggested_nowhere():
    """The package is in no index: somebody else's would be installed."""
    pages = [p for name in ("labsupport", "tests") for p in (ROOT / name).rglob("*.py")]
    pages += [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    name = "labsupport"
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for wrong in (f"pip install {name}[", f"pip install '{name}[", f"pip install {name} "):
            for tail in text.split(wrong)[1:]:
                assert " @ " in tail.splitlines()[0], f"{page}: {wrong}{tail.splitlines()[0]}"


def test_how_to_install_needs_nothing_that_a_student_lacks(monkeypatch, tmp_path):
    monkeypatch.setattr(installing, "CHECKOUT", tmp_path)
    monkeypatch.setattr(installing, "_wheel", lambda: None)
    monkeypatch.setitem(sys.modules, "labsupport.course.publication", None)  # no TOML reader
    assert how_to_install("grading").startswith("pip install 'labsupport-....whl[grading]'")
