"""Feedback pages: readable without a network, true to what waits, made only where they changed."""

import html.parser
import re
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.api import Gradebook

from labsupport.grading.ledger.course_directory import course_api, init_course, release
from labsupport.grading.ledger.feedback import lateness
from labsupport.grading.ledger.formulas import formulas_in, markdown, mathml
from labsupport.grading.ledger.pages import make_page, page_is_current, page_path
from tests.grading.simulate import hand_in, write_notebook

STEM = "90_mini"
DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Erk"
    "Jggg=="
)

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


@pytest.fixture(scope="module")
def template(mini_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("courses") / "mini"
    init_course(folder, mini_path.parent)
    release(folder)
    return folder


@pytest.fixture
def course(template, tmp_path):
    return shutil.copytree(template, tmp_path / "mini")


class Page(html.parser.HTMLParser):
    """A page's tags, attributes and words."""

    def __init__(self, source: str):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_data(self, data):
        if self.lasttag != "style":
            self.words.append(data)


def page(course, student):
    with course_api(course) as api:
        assert make_page(api, STEM, student) == ""
    return Page(page_path(course, STEM, student).read_text(encoding="utf-8"))


def gradebook(course):
    return Gradebook(f"sqlite:///{course / 'gradebook.db'}")


def grade_by_hand(course, student, points, comment=""):
    with gradebook(course) as book:
        grade = book.find_grade("answer-why", STEM, STEM, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        if comment:
            book.find_comment("answer-why", STEM, STEM, student).manual_comment = comment
        book.db.commit()


# --- what it says ------------------------------------------------------------------------------


def test_an_answer_that_waits_is_not_a_zero(course):
    hand_in(course, STEM, "a", {"twice": ("failed", "one case: wrong")}, by_hand=None)
    write_notebook(course, STEM, "a")
    text = page(course, "a").text
    assert "90 A lab as small as a lab can be 2 of 4.5 points so far: 1 answer waiting" in text
    assert "scale 2 of 2 points twice 0 of 1.5 points failed" in text
    assert text.count("waiting to be graded, up to 1 point") == 2  # in the index, at the answer
    assert "0 of 1 point" not in text and "Score" not in text and "Test cell" not in text
    grade_by_hand(course, "a", 0.5, "Half of **it**.")
    text = page(course, "a").text
    assert "2.5 of 4.5 points scale" in text and "waiting" not in text
    assert "why, written 0.5 of 1 point comment" in text and "Comments: Half of it ." in text


def test_what_was_repaired_and_taken_off_is_said_at_the_top(course):
    hand_in(
        course,
        STEM,
        "a",
        {},
        by_hand=1.0,
        late_hours=26.1,
        penalty=1.0,
        repairs=["judge-scale: its cell had been deleted <b>and</b> is back"],
    )
    write_notebook(course, STEM, "a")
    text = page(course, "a").text
    head = text.partition("A small lab")[0]
    assert "3.5 of 4.5 points Handed in 26 h 6 min late: 1 point off." in head
    assert "Repaired before grading." in head
    assert "judge-scale: its cell had been deleted <b>and</b> is back" in head
    assert [lateness(s) for s in (0, -5, 20, 78, 7500, 176_400)] == [
        "",
        "",
        "1 min",
        "1 min",
        "2 h 5 min",
        "49 h",
    ]


def test_an_exercise_that_a_student_need_not_do_counts_nowhere(course):
    hand_in(course, STEM, "a", {}, by_hand=1.0)
    write_notebook(course, STEM, "a")
    (course / "exemptions.csv").write_text("lab,student,exercise\n90_mini,a,twice\n")
    text = page(course, "a").text
    assert "3 of 3 points" in text and "twice exempt: it does not count" in text


def test_nothing_of_a_rubric_and_nothing_live(course):
    hand_in(course, STEM, "a", {}, by_hand=None)
    evil = "<script>alert(1)</script>"
    rubric = new_markdown_cell("Two points for the word CUBIC", metadata={"labsupport": {}})
    rubric.metadata["labsupport"]["kind"] = "rubric"
    extra = [rubric, new_markdown_cell(f"$\\text{{{evil}}}$"), new_code_cell("mine = 1")]
    write_notebook(course, STEM, "a", extra=extra)
    found = page(course, "a")
    assert "CUBIC" not in found.text and "mine = 1" in found.text
    assert "script" not in found.tags and evil in found.text
    policy = [a[2] for a in found.attributes if a[:2] == ("meta", "content")]
    assert any("default-src 'none'" in value for value in policy)


def test_a_page_needs_no_network(course):
    hand_in(course, STEM, "a", {}, by_hand=None)
    written = "It is $a_1 < b$, and\n\n$$\\sum_i x_i = \\frac{1}{2}$$\n\nfrom $5 to $6."
    write_notebook(course, STEM, "a", written)
    found = page(course, "a")
    places = [a[2] for a in found.attributes if a[1] in ("src", "href") and a[2]]
    assert places and not [p for p in places if re.match(r"(https?:)?//", p)]
    assert not {"script", "link", "iframe"} & set(found.tags)
    assert found.tags.count("math") == 2 and "mfrac" in found.tags
    assert "from $5 to $6." in found.text and "a 1 < b" in found.text


def test_a_page_can_be_read_aloud_and_by_keyboard(course):
    """One first heading, names of rows, links that say where they go, words for a picture."""
    hand_in(course, STEM, "a", {}, by_hand=1.0)
    shown = new_code_cell("draw()")
    shown.outputs = [
        new_output("display_data", {"image/png": DOT}, metadata={"image/png": {"alt": 'A "dot"'}}),
        new_output("display_data", {"image/png": DOT}),
        new_output("display_data", {"text/html": "<table></table>"}),
    ]
    mine = new_markdown_cell("# Mine\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n$$x$$")
    write_notebook(course, STEM, "a", extra=[shown, mine])
    grade_by_hand(course, "a", 0.5, "Half of it.")
    found = page(course, "a")
    assert found.tags.count("h1") == 1 and "comment on why, written" in found.text
    assert found.attributes.count(("th", "scope", "row")) == 3
    told = [a[2] for a in found.attributes if a[:2] == ("img", "alt")]
    assert told == ['A "dot"', "A picture that has no description"]
    assert [a[0] for a in found.attributes if a[1] == "tabindex"][-3:] == ["div", "div", "math"]


@pytest.mark.parametrize(
    "source, attachments, words",
    [
        ("![x](attachment:p.png)", {"p.png": {"image/png": DOT}}, f"base64,{DOT}"),
        ("![x](attachment:снимок.png)", {"снимок.png": {"image/png": DOT}}, f"base64,{DOT}"),
        ("![x](attachment:%D1%8F.png)", {"я.png": {"image/webp": DOT}}, "data:image/webp;base64"),
        ('<img src="attachment:p.png">', {"p.png": {"image/png": DOT}}, f"base64,{DOT}"),
        ("![x](attachment:gone.png)", {}, "the picture gone.png is not in the notebook"),
        ("![x](attachment:gone.png)", {"gone.png": {}}, "is not in the notebook"),
    ],
)
def test_pictures_are_shown_and_one_that_is_not_there_costs_no_page(source, attachments, words):
    assert words in markdown(source, attachments)


def test_an_answer_with_pictures_makes_a_page(course):
    hand_in(course, STEM, "a", {}, by_hand=None)
    mine = new_markdown_cell("![x](attachment:снимок.png) ![y](attachment:no.png)")
    mine["attachments"] = {"снимок.png": {"image/png": DOT}}
    write_notebook(course, STEM, "a", extra=[mine])
    found = page(course, "a")
    assert DOT in "".join(str(a[2]) for a in found.attributes if a[:2] == ("img", "src"))
    assert "the picture no.png is not in the notebook" in found.text


@pytest.mark.parametrize("formula", ["{", r"\begin{matrix}a", r"\left( x", "", "{" * 4000])
def test_what_is_no_formula_is_shown_as_it_was_written(formula):
    assert mathml(formula).startswith("<code>$")


def test_formulas_hold_no_markup_and_no_links():
    for formula in (
        r"\text{<img src=x onerror=alert(1)>}",
        r"\text{&lt;script&gt;}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{x\"onclick=alert(1)}{y}",
        '\\color{red"><script>}{y}',
    ):
        found = Page(mathml(formula))
        assert not set(found.tags) - {"math", "mrow", "mtext", "mi", "mo", "mn", "mstyle"}
        assert not {a[1] for a in found.attributes} & {"href", "style", "src", "onerror", "onclick"}
    assert formulas_in("$$x^2$$") == mathml("x^2", display=True)
    assert formulas_in("$x^2$") == mathml("x^2")


def test_every_formula_of_the_labs_is_one(root):
    """In the course's own texts none falls back to its source."""
    for path in sorted((root / "solutions").glob("0*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                assert "<code>$" not in markdown(cell.source, cell.get("attachments", {})), path


# --- made only where something changed ---------------------------------------------------------


def test_a_page_is_current_until_something_on_it_changes(course):
    hand_in(course, STEM, "a", {}, by_hand=None)
    hand_in(course, STEM, "b", {}, by_hand=None)
    notebook = write_notebook(course, STEM, "a")
    write_notebook(course, STEM, "b")

    def current(student="a"):
        with course_api(course) as api:
            return page_is_current(api, STEM, student)

    def change_penalty():
        with gradebook(course) as book:
            (found,) = book.find_submission(STEM, "a").notebooks
            found.late_submission_penalty = 1.0
            book.db.commit()

    changes = [
        lambda: grade_by_hand(course, "a", 0.5),
        lambda: grade_by_hand(course, "a", 0.5, "A comment."),
        change_penalty,
        lambda: (course / "exemptions.csv").write_text("lab,student,exercise\n90_mini,a,twice\n"),
        lambda: notebook.write_text(notebook.read_text().replace("Because", "Because,")),
        lambda: page_path(course, STEM, "a").unlink(),
        lambda: _append(course / "nbgrader_config.py", "c.HTMLExporter.anchor_link_text = ''\n"),
    ]
    assert not current()
    for index, change in enumerate([lambda: None, *changes]):
        page(course, "b")
        page(course, "a")
        assert current(), index
        change()
        assert current("a") is (index == 0), index
    page(course, "a")
    assert current("a")


def test_a_change_while_a_page_is_made_is_not_lost(course, monkeypatch):
    hand_in(course, STEM, "a", {}, by_hand=None)
    write_notebook(course, STEM, "a")
    with course_api(course) as api:
        made = api.generate_feedback

        def meanwhile(*args, **kwargs):
            result = made(*args, **kwargs)
            grade_by_hand(course, "a", 1.0)
            return result

        monkeypatch.setattr(api, "generate_feedback", meanwhile)
        assert make_page(api, STEM, "a") == "" and not page_is_current(api, STEM, "a")


def test_a_template_of_the_courses_own_is_used(course):
    hand_in(course, STEM, "a", {}, by_hand=None)
    write_notebook(course, STEM, "a")
    _append(course / "nbgrader_config.py", "c.FeedbackExporter.template_name = 'classic'\n")
    found = page(course, "a")
    assert "so far" not in found.text and "def twice" in found.text


def _append(path, text):
    path.write_text(path.read_text() + text)
