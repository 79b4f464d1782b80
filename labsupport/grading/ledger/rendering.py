"""What the pages of a class have in common, made once: templates, code in colours, prose.

nbgrader gives each page an exporter of its own; what one exporter could hand to the next is kept
here instead, for as long as the process lives.
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from nbconvert.filters import Highlight2HTML

from labsupport.grading.ledger.formulas import markdown

MOST = 2_000  # cells that are kept; a lab has less than a hundred that all its notebooks share
LONGEST = 20_000  # characters of one
_MAY_LACK_ALT = re.compile(r"<img(?![^>]*\salt=)", re.IGNORECASE)


class CompiledTemplates(BytecodeCache):
    """Templates that an environment of this process has compiled; one that has changed since is
    compiled again."""

    _kept: ClassVar[dict[str, tuple[str, Any]]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        checksum, code = self._kept.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.checksum, bucket.code


class KeptHighlight(Highlight2HTML):
    """nbconvert's filter ``highlight_code``, which remembers."""

    def __call__(self, source: str, language: str | None = None, metadata: Any = None) -> str:
        magic = (metadata or {}).get("magics_language")
        about = language or self.pygments_lexer, magic, repr(self.extra_formatter_options)
        highlight = super().__call__
        return _kept(source, about, lambda: highlight(source, language, metadata))


def kept_markdown(source: str, attachments: dict, lexer: dict) -> str:
    """``formulas.markdown``, which remembers prose without pictures."""

    def make() -> str:
        return markdown(source, attachments, **lexer)

    return make() if attachments else _kept(source, ("markdown", repr(lexer)), make)


def may_lack_alt(html: str) -> bool:
    """Whether a page may have a picture without words for it; True is a guess, False is not."""
    return _MAY_LACK_ALT.search(html) is not None


_made: dict[tuple, str] = {}


def _kept(source: str, about: tuple, make: Callable[[], str]) -> str:
    if len(source) > LONGEST:
        return make()
    key = source, *about
    if key not in _made:
        if len(_made) >= MOST:
            _made.clear()  # of what is everywhere there will soon be enough again
        _made[key] = make()
    return _made[key]
