"""Markdown of a feedback page: formulas as MathML, pictures from the cell, nothing from a network.

nbconvert leaves formulas to MathJax, which is fetched from elsewhere when the page is opened. A
browser shows MathML by itself.
"""

import re
from functools import lru_cache
from html import escape, unescape
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

LONGEST = 5_000  # characters of one formula; longer ones are shown as they were written
_ATTRIBUTES = frozenset(  # what a formula may say of its looks; links and styles are not among them
    "accent accentunder align alttext columnalign columnlines columnspacing columnspan depth "
    "display displaystyle fence height largeop linethickness lspace mathcolor mathsize mathvariant "
    "maxsize minsize movablelimits notation rowalign rowlines rowspacing rowspan rspace "
    "scriptlevel separator stretchy symmetric voffset width xmlns".split()
)
_ATTACHMENT = "attachment:"


class Renderer(IPythonRenderer):
    """nbconvert's, with formulas as MathML and without a way to fail on a picture.

    The page has its own first heading, so a notebook's go one lower; what scrolls sideways can be
    reached by keyboard.
    """

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        return super().heading(text, min(level + 1, 6), **attrs)

    def table(self, text: str) -> str:
        return f'<div class="wide" tabindex="0"><table>\n{text}</table></div>\n'

    def block_math(self, body: str) -> str:
        return mathml(body, display=True)

    def inline_math(self, body: str) -> str:
        if body[-1:].isspace() and not body[:1].isspace():  # "from $5 to $6"
            return f"${escape(unescape(body))}$"
        return mathml(body)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", display=True)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """A picture that is not in the notebook becomes a note: it costs nobody the page."""
        if not url.startswith(_ATTACHMENT):
            return super().image(text, url, title)
        name = self._attached(url.removeprefix(_ATTACHMENT))
        if not name:
            missing = escape(unquote(url.removeprefix(_ATTACHMENT)))
            return f"<em>(the picture {missing} is not in the notebook)</em>"
        return super().image(text, f"{_ATTACHMENT}{name}", title)

    def block_html(self, html: str) -> str:
        return super().block_html(self._with_pictures(html))

    def inline_html(self, html: str) -> str:
        return super().inline_html(self._with_pictures(html))

    def _with_pictures(self, html: str) -> str:
        def shown(found: re.Match) -> str:
            name = self._attached(unescape(found[2]))
            kinds = sorted(self.attachments.get(name, {}).items())
            return f'{found[1]}"data:{kinds[0][0]};base64,{kinds[0][1]}"' if kinds else found[0]

        return re.sub(r"""(<img\b[^>]*?\ssrc=)["']attachment:([^"']*)["']""", shown, html)

    def _attached(self, asked: str) -> str:
        """The name of an attachment of the cell, "" where it has none of this name; one in
        another script than Latin comes percent-encoded out of the parser."""
        names = (n for n in (asked, unquote(asked)) if self.attachments.get(n))
        return next(names, "")


def markdown(source: str, attachments: dict, **lexer: Any) -> str:
    """HTML of a markdown cell."""
    renderer = Renderer(escape=False, attachments=attachments, exclude_anchor_links=True, **lexer)
    return MarkdownWithMath(renderer=renderer).render(source)


@lru_cache(maxsize=4096)  # a class's pages hold the same formulas
def mathml(formula: str, display: bool = False) -> str:
    """A formula of LaTeX as MathML; as it was written where it is none."""
    plain = unescape(formula).strip()
    mark = "$$" if display else "$"
    try:
        if not plain or len(plain) > LONGEST:
            raise ValueError
        element = convert_to_element(plain, display="block" if display else "inline")
        for node in element.iter():
            # the converter writes signs as entities and expects them to be read once more; what
            # a student wrote between them must come out as text
            node.text, node.tail = _text(node.text), _text(node.tail)
            node.attrib = {n: _text(v) or "" for n, v in node.attrib.items() if n in _ATTRIBUTES}
        if display:
            element.set("tabindex", "0")  # a wide one scrolls
        return ElementTree.tostring(element, encoding="unicode", short_empty_elements=False)
    except Exception:  # its parser raises whatever it stumbles over, on what a student wrote
        return f"<code>{escape(mark + formula + mark)}</code>"


def formulas_in(text: str) -> str:
    """HTML of an output of kind text/latex."""
    for pattern, display in (
        (r"\$\$(.+)\$\$", True),
        (r"\\\[(.+)\\\]", True),
        (r"\$(.+)\$", False),
    ):
        if found := re.fullmatch(pattern, text.strip(), re.DOTALL):
            return mathml(found[1], display)
    return mathml(text, display=True)


def _text(value: str | None) -> str | None:
    return None if value is None else unescape(value)
