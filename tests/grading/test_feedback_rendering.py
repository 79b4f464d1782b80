"""Feedback pages made fast are the pages that nbconvert's whole way makes, byte by meaning."""

import shutil

import pytest
from bs4 import BeautifulSoup
from jinja2 import Environment
from nbconvert.filters import Highlight2HTML
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from test_feedback import DOT, STEM

from labsupport.grading.ledger import feedback, rendering
from labsupport.grading.ledger.course_directory import course_api, init_course, release
from labsupport.grading.ledger.pages import make_page, page_path
from tests.grading.simulate import hand_in, write_notebook

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


@pytest.fixture
def course(mini_path, tmp_path):
    folder = tmp_path / "mini"
    init_course(folder, mini_path.parent)
    release(folder)
    hand_in(folder, STEM, "a", {"twice": ("failed", "one case: wrong")}, by_hand=1.0)
    return folder


def html(course, student="a"):
    with course_api(course) as api:
        assert make_page(api, STEM, student) == ""
    return page_path(course, STEM, student).read_text(encoding="utf-8")


def output(**data):
    return new_output("display_data", {kind.replace("_", "/"): text for kind, text in data.items()})


EXTRA = (
    new_code_cell("%%time\nx = '<b>' & \"it's\"", outputs=[output(image_png=DOT)]),
    new_code_cell("!ls", metadata={"magics_language": "bash"}),
    new_code_cell("y", outputs=[output(text_html="<table><tr><td>a < b<br>c</table>")]),
    new_code_cell("z", outputs=[output(text_latex="$x^2$"), output(text_plain="<3 'x'")]),
    new_markdown_cell("![dot](attachment:d.png) *it's* <i>so</i> $a<b$\n\n    code & more"),
)


def test_a_page_is_the_one_that_nbconvert_would_have_made(course, monkeypatch):
    EXTRA[-1]["attachments"] = {"d.png": {"image/png": DOT}}
    write_notebook(course, STEM, "a", extra=list(EXTRA))
    fast = html(course)
    assert html(course) == fast  # what is kept changes nothing
    assert fast.count(DOT) == 2 and " highlight hl-" in fast
    monkeypatch.setattr(feedback, "may_lack_alt", lambda page: True)
    monkeypatch.setattr(feedback, "KeptHighlight", Highlight2HTML)
    monkeypatch.setattr(rendering, "MOST", 0)
    rendering._made.clear()
    slow = html(course)
    assert slow != fast and str(BeautifulSoup(fast, "html.parser")) == slow


@pytest.mark.parametrize("tag", ["<img src='data:,'>", "<IMG\nsrc='data:,' title='a > b alt=1'/>"])
def test_a_picture_without_words_gets_some(course, tag):
    write_notebook(course, STEM, "a", extra=[new_code_cell("y", outputs=[output(text_html=tag)])])
    pictures = BeautifulSoup(html(course), "html.parser").find_all("img")
    assert [p["alt"] for p in pictures] == ["No description has been provided for this image"]


def test_templates_are_compiled_once_and_again_where_they_change(course, monkeypatch, tmp_path):
    hand_in(course, STEM, "b", {}, by_hand=1.0)
    for student in "ab":
        write_notebook(course, STEM, student)
    compiled, compile_ = [], Environment.compile

    def counted(self, source, name=None, *rest, **options):
        compiled.append(name)
        return compile_(self, source, name, *rest, **options)

    own = shutil.copytree(feedback.TEMPLATES, tmp_path / "templates")
    monkeypatch.setattr(feedback, "TEMPLATES", own)
    monkeypatch.setattr(Environment, "compile", counted)
    html(course, "a")
    assert "index.html.j2" in compiled
    compiled.clear()
    html(course, "b")
    assert not compiled
    index = own / feedback.TEMPLATE / "index.html.j2"
    index.write_text(index.read_text().replace("Points by exercise", "What each gave"))
    assert "What each gave" in html(course, "b") and "index.html.j2" in compiled
