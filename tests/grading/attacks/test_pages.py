"""Family 4: what is shown carries no script, and the figures and tables are still there."""

import copy
import json
import time
from html.parser import HTMLParser

import pytest
from attack import HONEST
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labsupport.grading.submission.sanitise import (
    Patience,
    clean_html,
    clean_markdown,
    clean_outputs,
)

SCRIPTS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)></svg>",
    "<a href='javascript:alert(1)'>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<b/onclick=alert(1)>x</b>",
    "<style>@import 'http://x/'</style>",
    "<object data='data:text/html,x'></object>",
    "<base href='http://x/'>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<form action='http://x/'><input name=a></form>",
    "<scr<script>ipt>alert(1)</script>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<img src='http://tracker/x.png'>",
    "<p style='background:url(javascript:alert(1))'>x</p>",
    "<IMG SRC=JaVaScRiPt:alert(1)>",
]
MARKDOWN = [
    *SCRIPTS,
    "[x](javascript:alert(1))",
    "[x](java&#115;cript&colon;alert(1))",
    "[x](JAVA\\script\\:alert(1))",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n[x]",
    r"$\href{javascript:alert(1)}{x}$",
    r"$&#92;href{j&#97;vascript:alert(1)}{x}$",
    r"$\require{html}\style{background:url(x)}{y}$",
    "![x](javascript:alert(1))",
    "```\n</code></pre><script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
]
ACTING = {
    "script",
    "svg",
    "math",
    "iframe",
    "object",
    "embed",
    "base",
    "meta",
    "form",
    "input",
    "style",
    "link",
    "template",
}


class Acting(HTMLParser):
    """Collects what a browser would act on, as it reads the page: not what is shown as text."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag in ACTING:
            self.found.append(tag)
        for name, value in attributes:
            value = "".join((value or "").lower().split())
            picture = tag == "img" and name == "src" and not value.startswith("data:image/")
            if name.startswith("on") or "javascript:" in value or "url(" in value or picture:
                self.found.append(f"{tag} {name}={value}")


def rendered(notebook) -> str:
    return HTMLExporter(template_name="basic").from_notebook_node(notebook)[0]


@pytest.mark.parametrize("text", SCRIPTS)
def test_html_is_text_tables_and_pictures(text):
    cleaned = clean_html(text)
    assert Acting(cleaned).found == [] and clean_html(cleaned) == cleaned


def test_tables_and_figures_survive():
    table = (
        '<table border="1"><thead><tr><th>n</th></tr></thead>'
        "<tbody><tr><td>1</td></tr></tbody></table>"
    )
    assert clean_html(table) == table
    picture = '<img src="data:image/png;base64,aGk=" width="10">'
    assert clean_html(picture) == picture
    outputs = [
        {
            "output_type": "display_data",
            "metadata": {"image/png": {"width": '"><script>'}},
            "data": {"image/png": "aGk=", "text/plain": "<Figure>", "application/javascript": "x"},
        },
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {"image/svg+xml": "<svg onload=x>"},
        },
        {
            "output_type": "execute_result",
            "execution_count": 1,
            "metadata": {},
            "data": {"text/plain": "2.0"},
        },
        {"output_type": "stream", "name": "evil", "text": ["a", "b"]},
        {"output_type": "display_data", "metadata": {}, "data": {"application/x-evil": "x"}},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": '"><script>'}},
        {"output_type": "nonsense"},
        7,
    ]
    shown = clean_outputs(outputs)
    assert shown[0] == {
        "output_type": "display_data",
        "metadata": {},
        "data": {"image/png": "aGk=", "text/plain": "<Figure>"},
    }
    assert shown[1].data["text/html"].startswith('<img src="data:image/svg+xml;base64,')
    assert shown[2].output_type == "display_data"  # a result would be read as a grade
    assert shown[3] == {"output_type": "stream", "name": "stdout", "text": "ab"}
    assert shown[4].text == "(an output was left out here: application/x-evil)\n"
    assert len(shown) == 6 and "script" not in json.dumps(shown)


@pytest.mark.parametrize("text", MARKDOWN)
def test_markdown_as_formgrader_renders_it(text):
    notebook = new_notebook(cells=[new_markdown_cell(clean_markdown(text))])
    found = [f for f in Acting(rendered(notebook)).found if not f.startswith("img src=#harmful")]
    assert [f for f in found if not f.startswith("img src=removed-link:")] == []


def test_the_detector_sees_what_is_live():
    inert = ("<!", "<scr<")  # to a browser too; they are there for what a cleaner makes of them
    assert [t for t in SCRIPTS if not Acting(t).found and not t.startswith(inert)] == []


def test_honest_markdown_is_left_alone():
    text = (
        "# Title\n\nIf a < b and b<3 then `x & y`; **bold**, $a_{ij} \\le \\frac{1}{2}$, "
        "<b>b</b>, [link](https://example.org), data: 5 &mdash; &nbsp;\n\n"
        "| a | b |\n|---|---|\n"
    )
    assert clean_markdown(text).replace("b&lt;3", "b<3") == text


@pytest.mark.parametrize(
    "text",
    [
        "<b>" * 30_000,
        "".join(f"<b title={i}><p>" for i in range(9000)),
        "<table><b>" * 9000,
        "<div>" * 19_000,
        "&amp" * 60_000,
        "<p style='" + "color:red;" * 9000 + "'>",
        "<script>" * 20_000,
        "<" * 99_000,
        "<b><p></b></p>" * 2400,
        "<p " + "a=b " * 24_000 + ">",
    ],
)
def test_cleaning_ends_soon(text):
    patience, begin = Patience(seconds=1), time.process_time()
    clean_outputs(
        [{"output_type": "display_data", "metadata": {}, "data": {"text/html": text}}] * 50,
        patience,
    )
    clean_markdown(text)
    assert time.process_time() - begin < 20  # a watchdog's bound, not a speed


def test_a_graded_notebook_shows_no_script(perfect, hand_in, untouched):
    notebook = copy.deepcopy(perfect)
    code = "from IPython.display import HTML, Javascript, Markdown, SVG, Latex, display\n"
    for text in SCRIPTS:
        code += f"display(HTML({text!r})); display(Markdown({text!r})); display(Latex({text!r}))\n"
    code += "display(Javascript('alert(1)')); raise ValueError('<script>alert(1)</script>')"
    notebook.cells.insert(4, new_code_cell(code, id="loud"))
    notebook.cells.append(new_markdown_cell("\n\n".join(MARKDOWN), id="written"))
    scale = next(c for c in notebook.cells if c.id == "exercise-scale")
    scale.source = HONEST.replace("return", "raise ValueError('<script>alert(1)</script>') #")
    graded, _ = hand_in(notebook)
    found = Acting(rendered(graded.notebook)).found
    assert [f for f in found if not f.startswith("img src=removed-link:")] == []
