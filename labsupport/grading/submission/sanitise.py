"""Sanitising of what people open: a submission's outputs and markdown in forms that only show.

An instructor opens a graded notebook in Jupyter, in formgrader and as feedback, where the page
may act with the instructor's rights. HTML goes through bleach with a short list of what may
stay; all other rich output is kept only in forms that cannot act.
"""

import base64
import html
import re
import time
from dataclasses import dataclass
from typing import Any

import bleach
import nbformat
from bleach.css_sanitizer import CSSSanitizer
from nbformat.notebooknode import NotebookNode

MAX_TEXT = 200_000  # characters of one output's text
MAX_HTML = 100_000  # characters of one HTML output before cleaning, and at most
MAX_TAGS, MAX_DEPTH = 10_000, 100  # tags in it, and inside each other: cleaning nested ones
# takes a time that grows with the square of their number
MAX_OUTPUTS = 500  # shown of one cell
MAX_ALT = 2_000  # characters of what is said of one picture
GONE = "(an output was left out here: {})"

_TABLE = "table thead tbody tfoot tr th td caption colgroup col"
_TEXT = (
    "a abbr b blockquote br code dd del details div dl dt em figure figcaption h1 h2 h3 h4 "
    "h5 h6 hr i img ins kbd li mark ol p pre s samp small span strong sub summary sup u ul"
)
TAGS = frozenset(f"{_TABLE} {_TEXT}".split())
_CSS = CSSSanitizer(
    allowed_css_properties=[
        "background-color",
        "border",
        "border-collapse",
        "border-left",
        "color",
        "font-family",
        "font-size",
        "font-style",
        "font-weight",
        "height",
        "margin",
        "padding",
        "text-align",
        "vertical-align",
        "white-space",
        "width",
    ]
)
_PLAIN_MARKS = str.maketrans({"<": "‹", ">": "›", '"': "”", "\0": ""})
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*\Z")
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*\Z")
_DROPPED = re.compile(r"<(script|style|template|title)\b.*?(</\1\s*>|\Z)", re.I | re.S)
# A tag, a comment or a declaration begins like this; "a < b" does not.
_NAME = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_PLAIN_TAG = re.compile(rf"</?(?:{'|'.join(sorted(TAGS - {'a', 'img'}))})\s*/?>", re.I)
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]*);?")
_SCHEME = re.compile(
    "("
    + r"[\s\\\x00-\x20]*".join("javascript")
    + "|"
    + r"[\s\\\x00-\x20]*".join("vbscript")
    + r")([\s\\\x00-\x20]*:)",
    re.I,
)
# Commands of TeX by which MathJax makes links, loads extensions, or touches the page's HTML.
_MATH = re.compile(r"\\(href|url|require|class|cssId|style|data|html\w*|unicode|mmlToken)\b")


@dataclass
class Patience:
    """Seconds of processor time left for cleaning one notebook's HTML. What it cannot buy is
    left out: HTML can be written so that reading it takes long."""

    seconds: float = 5.0

    def clean(self, text: str) -> str:
        if self.seconds <= 0:
            return html.escape(GONE.format(f"{len(text):,} characters of HTML"))
        begin = time.process_time()
        try:
            return clean_html(text)
        finally:
            self.seconds -= time.process_time() - begin


def clean_outputs(outputs: list, patience: Patience | None = None) -> list[NotebookNode]:
    """Outputs that show what they showed, without anything live in them."""
    patience = patience or Patience()
    outputs = outputs if isinstance(outputs, list) else []
    cleaned = [c for o in outputs[:MAX_OUTPUTS] if (c := _output(o, patience)) is not None]
    if len(outputs) > MAX_OUTPUTS:
        cleaned.append(_note(f"{len(outputs) - MAX_OUTPUTS:,} more"))
    return nbformat.from_dict(cleaned)


def _output(output: Any, patience: Patience) -> dict | None:
    kind = output.get("output_type") if isinstance(output, dict) else None
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": _text(output.get("text"))}
    if kind == "error":
        lines = output.get("traceback")
        lines = [_text(t) for t in lines[-100:]] if isinstance(lines, list) else []
        return {
            "output_type": "error",
            "ename": _text(output.get("ename"))[:200],
            "evalue": _text(output.get("evalue"))[:2000],
            "traceback": lines,
        }
    if kind not in ("display_data", "execute_result"):
        return None
    data = output.get("data") if isinstance(output.get("data"), dict) else {}
    shown = _data(data, patience)
    if data and not shown:
        return _note(", ".join(sorted(map(str, data)))[:200])
    # as display data: only a graded cell may have a result, for nbgrader reads it as a grade
    said = _alternatives(output.get("metadata"), shown)
    return {"output_type": "display_data", "metadata": said, "data": shown} if shown else None


def _alternatives(metadata: Any, shown: dict) -> dict:
    """What is said of the pictures that are shown, for who cannot see them; no other metadata.

    A page writes it into an attribute, so it has no mark that could end one or begin a tag."""
    said = {}
    for kind in _IMAGES:
        about = metadata.get(kind) if isinstance(metadata, dict) else None
        alt = about.get("alt") if isinstance(about, dict) else None
        if kind in shown and isinstance(alt, str) and alt.strip():
            said[kind] = {"alt": writable(alt[:MAX_ALT]).translate(_PLAIN_MARKS)}
    return said


def _data(data: dict, patience: Patience) -> dict:
    shown = {}
    for kind in _IMAGES:
        image = _joined(data.get(kind))
        if image and _BASE64.match(image):
            shown[kind] = image
    drawing = _joined(data.get("image/svg+xml"))
    if "text/html" in data:
        page = patience.clean(_joined(data["text/html"]))
        shown |= {"text/html": page} if page.strip() else {}
    elif drawing and len(drawing) <= 10 * MAX_HTML and not shown:
        # as the source of an image a drawing's scripts do not run
        source = base64.b64encode(drawing.encode()).decode()
        shown["text/html"] = f'<img src="data:image/svg+xml;base64,{source}">'
    if "text/markdown" in data:
        # an output has no attachments, and nbconvert makes no page of a reference to one
        text = re.sub("attachment:", "attachment%3A", _joined(data["text/markdown"]), flags=re.I)
        shown["text/markdown"] = clean_markdown(text)
    for kind in ("text/plain", "text/latex"):
        if kind in data and "text/plain" not in shown:
            shown["text/plain"] = _text(data[kind])
    return shown


def clean_html(text: str) -> str:
    """HTML with the tags, attributes and styles of text, tables and embedded pictures only."""
    text = _DROPPED.sub("", text)
    if len(text) > MAX_HTML or text.count("<") > MAX_TAGS or _depth(text) > MAX_DEPTH:
        return html.escape(GONE.format(f"{len(text):,} characters of HTML"))
    return bleach.clean(
        text,
        tags=TAGS,
        attributes=_attribute,
        protocols=["http", "https", "data"],
        strip=True,
        strip_comments=True,
        css_sanitizer=_CSS,
    )


def _depth(text: str) -> int:
    """How many tags are open at once, at most; a tag that is never closed stays open."""
    opened: dict[str, int] = {}
    depth = deepest = 0
    for closing, name in _NAME.findall(text):
        name = name.lower()
        if closing:
            if opened.get(name, 0) == 0:
                continue
            opened[name] -= 1
            depth -= 1
        elif name not in ("br", "hr", "img", "col", "wbr", "input"):
            opened[name] = opened.get(name, 0) + 1
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def _attribute(tag: str, name: str, value: str) -> bool:
    if name in ("style", "title", "alt", "align", "colspan", "rowspan", "border", "open"):
        return True
    if name in ("width", "height"):
        return bool(re.fullmatch(r"\d{1,4}(px|%|em)?", value))
    if (tag, name) == ("img", "src"):  # a picture from elsewhere would tell who opened the page
        return bool(_PICTURE.match(value))
    return (tag, name) == ("a", "href") and value.lower().startswith(("https://", "http://", "#"))


def clean_markdown(text: str) -> str:
    """Markdown in which HTML is shown as text, but for plain tags; links and mathematics can
    neither run script nor load anything."""
    cut = len(text) - MAX_TEXT
    text = _ENTITY.sub(_spelt_out, text[:MAX_TEXT])
    text = _MATH.sub(r"\\text{\1}", text)
    text = _SCHEME.sub("removed-link:", text)
    text = _TAG.sub(lambda m: "<" if _PLAIN_TAG.match(text, m.start()) else "&lt;", text)
    return text if cut <= 0 else f"{text}\n\n*(cut here: {cut:,} more characters)*"


def _spelt_out(entity: re.Match) -> str:
    # an entity for an ordinary character only hides it from a reader like this one
    character = html.unescape(entity[0])
    hidden = character.isascii() and character not in ("&", "<", ">", '"', "'")
    return character if hidden and character != entity[0] else entity[0]


def _text(value: Any) -> str:
    text = _joined(value)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "\n" + GONE.format("the rest")


def _joined(value: Any) -> str:
    parts = value if isinstance(value, list) else [value]
    return writable("".join(part for part in parts if isinstance(part, str)))


def writable(text: str) -> str:
    """Text without halves of surrogate pairs: JSON can hold them, a file cannot."""
    return text.encode(errors="replace").decode()


def _note(what: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": GONE.format(what) + "\n"}
