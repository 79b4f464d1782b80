"""Pages that people open without Jupyter, for every reader: feedback, class report, site."""

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from labsupport.course.site.build import build_site
from labsupport.course.source import find_labs
from labsupport.grading.ledger.course_directory import course_api, init_course, release
from labsupport.grading.ledger.pages import make_page, page_path
from labsupport.grading.report.command import write_reports
from labsupport.grading.submission.sanitise import clean_markdown, clean_outputs
from tests.browser.jupyter import AXE, BROWSER, DRIVER, look, new_browser, violations
from tests.conftest import ROOT
from tests.grading.simulate import hand_in, write_notebook

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
    pytest.mark.skipif(
        not (DRIVER and BROWSER), reason="chromium and its chromedriver are not installed"
    ),
]
STEM = "90_mini"
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Erk"
    "Jggg=="
)
WIDE = "<tr>" + "<td>a_long_name_of_something</td>" * 9 + "</tr>"
COLOURS = "".join(f"\x1b[{code}m{code} \x1b[0m" for code in (*range(31, 37), *range(91, 97), 1))
TRACE = [f"{COLOURS}\x1b[38;5;28mgreen\x1b[39m", "\x1b[31mValueError\x1b[0m: no"]
OUTPUTS = [
    {"text/html": f"<table><thead><tr><th>x</th></tr></thead>{WIDE}</table>"},
    {"text/html": "<p style='background-color: #ffffcc'>mine</p>"},
    {"text/html": "<details><summary>Figure in words</summary>A dot.</details>"},
    {"image/png": DOT},
    {"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>"},
    {"text/latex": f"$${'x + ' * 60}y$$"},
    {"text/plain": "array" * 60},
]
CODE = '''import torch  # a comment
@torch.no_grad()
class Net(torch.nn.Module):
    """What it does."""
    def forward(self, x: int = 0x1F) -> None:
        return not x in [None, True, 1.5, print(f"{x:.2f}\\n"), r"\\d"] and lambda: %s
''' % ("x + " * 60 + "x")
WORDS = f"""# Mine
| {"a_long_name_of_something | " * 9}
|{"---|" * 9}
| {"1 | " * 9}

$$ {"x + " * 60}y $$ and `{"a_long_name" * 20}` and [here](https://example.org)

<table><tr>{WIDE}</tr></table>

    {"written " * 60}
"""


@pytest.fixture(scope="module")
def pages(mini_path, root, tmp_path_factory):
    """Addresses by name: a class of two, the site and an export, each made once."""
    folder = tmp_path_factory.mktemp("pages")
    course = folder / "course"
    init_course(course, mini_path.parent)
    release(course)
    wrong = ("failed", "one case: the values differ")
    hand_in(course, STEM, "right", {}, by_hand=0.5)
    hand_in(
        course, STEM, "a", {"twice": wrong}, late_hours=9, penalty=1, repairs=["a cell was gone"]
    )
    cell = new_code_cell(CODE)
    cell.outputs = clean_outputs(
        [
            *(new_output("display_data", data) for data in OUTPUTS),
            new_output("stream", name="stderr", text="a warning"),
            new_output("error", ename="ValueError", evalue="no", traceback=TRACE),
        ]
    )
    extra = [cell, new_markdown_cell(clean_markdown(WORDS))]
    write_notebook(course, STEM, "a", extra=extra)
    with course_api(course) as api:
        assert make_page(api, STEM, "a") == ""
    ((_, report),) = write_reports(course)
    assert build_site(root, folder / "solved") == []
    assert build_site(root, folder / "public", ["06"], solutions=False) == []
    places = {
        "feedback": page_path(course, STEM, "a"),
        "report": report,
        "exported": _exported(root, folder / "exported.html"),
        "exported with state": _exported(root, folder / "state.html", state=True),
        "site": folder / "solved" / "index.html",
        "lab": folder / "solved" / "06_contrastive_clip.html",
        **{lab.stem: folder / "solved" / f"{lab.stem}.html" for lab in LABS},
        "lab without solutions": folder / "public" / "06_contrastive_clip.html",
        "results": folder / "solved" / "results.html",
        "search": folder / "solved" / "search.html",
    }
    return {name: f"file://{path}" for name, path in places.items()}


def _exported(root, path, state=False):
    """The cells of a lab that show widgets, exported by nbconvert; with the widgets' ``state``, as
    some editors save it. No network, so nothing there to make a widget of it."""
    notebook = nbformat.read(root / "solutions" / "01_vision_transformer.ipynb", as_version=4)
    notebook.cells = [c for c in notebook.cells if c.metadata.labsupport.get("kind") == "widget"]
    if state:
        outputs = [o for cell in notebook.cells for o in cell.outputs if VIEW in o.data]
        model = {"model_name": "LayoutModel", "model_module": "@jupyter-widgets/base", "state": {}}
        states = {o.data[VIEW]["model_id"]: model for o in outputs}
        notebook.metadata["widgets"] = {STATE: {"version_major": 2, "state": states}}
    path.write_text(HTMLExporter().from_notebook_node(notebook)[0], encoding="utf-8")
    return path


LABS = find_labs(ROOT / "solutions")
PAGES = ("feedback", "report", "site", "lab", "lab without solutions", "results", "search")
PUBLIC = PAGES[4]
SEEN = [(name, dark) for name in PAGES if name != PUBLIC for dark in (False, True)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = new_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(params=PAGES)
def page(request, pages, browser):
    """A page in a browser of 320 pixels: a desktop's text at four times its size."""
    look(browser, 320)
    browser.get(pages[request.param] + ("?q=image" if request.param == "search" else ""))
    return browser


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed; AXE names its file")
@pytest.mark.parametrize("page, dark", SEEN, indirect=["page"])
def test_axe_finds_nothing_in_either_theme(page, dark):
    look(page, 320, dark)
    paper = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is not dark
    assert violations(page, "html") == []


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed; AXE names its file")
@pytest.mark.parametrize("page", [PUBLIC, *(path.stem for path in LABS)], indirect=True)
def test_axe_finds_nothing_in_what_a_lab_says(page):
    """Without code, formulas and menus: they are alike in all labs, and take long to look at."""
    page.execute_script(
        "document.querySelectorAll('pre, math, svg, .sidebar-drawer, .toc-drawer')"
        ".forEach(e => e.remove())"
    )
    assert violations(page, "html") == []


@pytest.mark.parametrize("page", ["exported", "exported with state"], indirect=True)
def test_an_exported_widget_is_its_still_and_its_words(page):
    shown = page.execute_script(
        "return [...document.querySelectorAll('.jp-OutputArea')].map(o => [o.innerText,"
        " [...o.querySelectorAll('img')].map(i => i.offsetHeight), o.querySelectorAll('summary')"
        ".length])"
    )
    assert len(shown) == 2
    for text, heights, words in shown:
        assert "Error" not in text and len(heights) == words == 1 and heights[0] > 50


def test_a_narrow_page_scrolls_one_way_only(page):
    """What is wider scrolls in itself, and by keyboard."""
    assert page.execute_script("return document.documentElement.scrollWidth") <= 320
    unreached = page.execute_script(
        "return [...document.querySelectorAll('main *, article *')].filter(e =>"
        " ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)"
        " && e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0 && e.tagName !== 'TABLE')"
        ".map(e => e.outerHTML.slice(0, 100))"
    )
    assert unreached == []


@pytest.mark.parametrize("page", ["feedback"], indirect=True)
def test_words_of_an_outputs_table_stay_whole(page):
    """A wide one scrolls; in the student's own text there is nothing to scroll a table in."""
    heights = page.execute_script(
        "return [...document.querySelectorAll('.wide td')].map(cell => cell.offsetHeight)"
    )
    assert len(heights) == 18 and max(heights) < 50


def test_a_page_says_its_language_and_has_one_main_part_and_headings_in_order(page):
    language, mains, levels = page.execute_script(
        "return [document.documentElement.lang,"
        " document.querySelectorAll('main, [role=main]').length,"
        " [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => +h.tagName[1])]"
    )
    assert language == "en" and mains == 1
    assert levels[0] == 1 and levels.count(1) == 1
    assert [pair for pair in zip(levels, levels[1:]) if pair[1] > pair[0] + 1] == []


def test_every_picture_says_what_it_shows_or_that_nobody_said(page):
    told = page.execute_script("return [...document.querySelectorAll('main img')].map(i => i.alt)")
    assert [alt for alt in told if len(alt) < 20] == []
