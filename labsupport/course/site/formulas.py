"""Extension of Sphinx: formulas as MathML, and what a keyboard and a screen reader need.

MathJax would be fetched from elsewhere by every reader; a browser shows MathML by itself.
"""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

_DETAILS = re.compile(r' aria-label="Toggle hidden content"')  # hides what the summary says
_SCROLLS = re.compile(r'<pre>|<div class="table-wrapper[^"]*">')


def inline(translator: Any, node: nodes.math) -> None:
    """Write a formula in a line."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on a line of its own; a wide one scrolls, by keyboard too."""
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="formula" tabindex="0">{formula}</div>\n')
    raise nodes.SkipNode


def readable(app: Sphinx, page: str, template: str, context: dict, doctree: Any) -> None:
    """What scrolls can be reached by keyboard, and a fold is called what it says."""
    if "body" in context:
        body = _DETAILS.sub("", context["body"])
        context["body"] = _SCROLLS.sub(lambda m: f'{m[0][:-1]} tabindex="0">', body)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("html-page-context", readable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
