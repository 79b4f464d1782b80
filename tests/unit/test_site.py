"""The static site: what is in it, what is folded, and what must not be in it."""

import re

import nbformat
import pytest
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.course.publication import Published
from labsupport.course.site.build import OURS, build_site, colab_address, put
from labsupport.course.site.lab_page import lab_page
from labsupport.errors import CourseError

STEM = "01_vision_transformer"


@pytest.fixture(scope="module")
def sites(root, tmp_path_factory):
    """A site of one lab with solutions, and one without; built without a warning."""
    places = {}
    for solutions in (True, False):
        place = tmp_path_factory.mktemp("sites") / "site"
        assert build_site(root, place, ["01"], solutions) == []
        places[solutions] = place
    return places


def written(root):
    """Lines of the lab's solution that a student's notebook does not hold."""
    read = nbformat.read(root / "notebooks" / f"{STEM}.ipynb", as_version=4)
    given = "\n".join(cell.source for cell in read.cells)
    for cell in nbformat.read(root / "solutions" / f"{STEM}.ipynb", as_version=4).cells:
        if cell.metadata.get("labsupport", {}).get("kind") in ("exercise", "answer"):
            yield from (w for w in re.findall(r"[a-z_]{14,}", cell.source) if w not in given)
    yield "Model answer"


def test_a_site_without_solutions_holds_none_in_any_file(root, sites):
    texts = [
        path.read_text(encoding="utf-8")
        for path in sites[False].rglob("*")
        if path.suffix in (".html", ".js", ".txt", ".ipynb", ".md") and path.is_file()
    ]
    assert "Model answer" in (sites[True] / f"{STEM}.html").read_text(encoding="utf-8")
    assert not [word for word in written(root) for text in texts if word in text]


def test_solutions_are_folded_and_figures_have_their_words(sites):
    page = (sites[True] / f"{STEM}.html").read_text(encoding="utf-8")
    assert "Show the solution of patchify" in page and "Show the model answer" in page
    assert "<details open" not in page and "Toggle hidden content" not in page
    alts = re.findall(r'<img [^>]*?alt="([^"]*)"', page)
    assert len(alts) > 20 and all(alts) and "No description" not in page
    assert page.count("<h1>") == 1 and 'class="head"' in page


def test_each_lab_opens_in_colab_from_where_it_is_published(root, tmp_path):
    published = Published("https://github.com/someone/labs", "term")
    where = "https://colab.research.google.com/github/someone/labs/blob/term/notebooks"
    assert colab_address(published, STEM) == f"{where}/{STEM}.ipynb"
    assert colab_address(Published("https://gitlab.com/someone/labs"), STEM) == ""
    (tmp_path / "static").mkdir()
    executed = root / "solutions" / f"{STEM}.ipynb"
    student = root / "notebooks" / f"{STEM}.ipynb"
    for address in (colab_address(published, STEM), ""):
        page = lab_page(executed, student, tmp_path / "static", address)
        link = f'<a href="{address}">Open in Colab</a>'
        assert (link in page.notebook.cells[0].source) is bool(address)


def test_a_site_needs_no_network(sites):
    for path in sites[True].glob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|<link [^>]*href)="(?:https?:)?//', page), path.name
    lab = (sites[True] / f"{STEM}.html").read_text(encoding="utf-8")
    assert "<math" in lab and "MathJax" not in lab and "cdn." not in lab


def test_results_and_search_are_there(sites):
    page = (sites[True] / "results.html").read_text(encoding="utf-8")
    results = re.sub("<[^>]*>", "", page)
    assert "labs experiment 01 data_scaling" in results and "Show all 30 records" in results
    assert (sites[True] / "search.html").read_text(encoding="utf-8").count("<h1>Search</h1>") == 1
    assert "patchifi" in (sites[True] / "searchindex.js").read_text(encoding="utf-8")


def test_an_earlier_site_makes_room_and_other_files_stay(tmp_path):
    made, target = tmp_path / "made", tmp_path / "target"
    for names in (("a.html", "b.html"), ("b.html",)):
        made.mkdir(exist_ok=True)
        (made / "a.html").unlink(missing_ok=True)
        for name in names:
            (made / name).write_text(name)
        put(made, target)
        (made / OURS).unlink()
        (target / "CNAME").write_text("kept")
    assert sorted(p.name for p in target.iterdir()) == sorted([OURS, "CNAME", "b.html"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.html").write_text("mine")
    with pytest.raises(CourseError, match="holds other files"):
        put(made, tmp_path / "mine")


def test_a_missing_generator_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "furo", None)
    done = CliRunner().invoke(app, ["site", str(tmp_path / "site")])
    assert done.exit_code == 1 and "furo is not installed: pip install -e" in done.output
    assert "[grading,site]" in done.output and not (tmp_path / "site").exists()
