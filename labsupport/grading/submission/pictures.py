"""Pictures in a markdown cell: pasted ones (attachments) and inlined ones (data URIs).

Every picture that the text shows becomes an attachment with a plain name made of its content, so
that any page can show it and two cells' ``image.png`` stay two pictures. A reference without a
picture becomes a note: nbconvert makes no page of a notebook that has one.
"""

import base64
import binascii
import hashlib
import html
import itertools
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from labsupport.answers.text import one_line

# By what a file begins with; a picture of none of these kinds is taken for what it is said to be.
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
    (b"<svg", "image/svg+xml"),
    (b"<?xml", "image/svg+xml"),
)
_ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "image/bmp": "bmp",
    "image/avif": "avif",
}
_SOURCE = re.compile(r"attachment:|data:image/", re.I)
_MARKDOWN = re.compile(r"!\[((?:(?!\]\(|!\[)[^\n])*)\]\(\s*<?\Z")
_HTML = re.compile(r"<img\b[^<>]*\bsrc\s*=\s*([\"']?)\Z", re.I)
_DEFINED = re.compile(r" {0,3}\[[^\]\n]+\]:\s*<?\Z")
_DATA = re.compile(r"data:(image/[\w.+-]+)(?:;[\w=.-]+)*;base64,([A-Za-z0-9+/=%]*)", re.I)
_ALT = re.compile(r"\balt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.I)
_TITLE = re.compile(r">?(?:\s+(?:\"[^\"\n]*\"|'[^'\n]*'))?\s*\)")
MOST = 1000  # pictures of one cell, and references to some, that are looked at
MOST_NOTES = 5
LOOK_BACK = 2000  # characters before a source in which its picture's syntax begins


@dataclass
class Pictured:
    """A cell's text, its attachments, and what could not be shown."""

    source: str
    attachments: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def with_pictures(source: str, attachments: Any = None) -> Pictured:
    """A markdown cell's text in which every reference to a picture has one, or is a note."""
    found = Pictured("")
    if not _SOURCE.search(source):
        found.source = source
        return found
    known = _known(attachments)
    done, out = 0, []
    for match in itertools.islice(_SOURCE.finditer(source), MOST):
        if match.start() < done:
            continue
        place = _place(source, match.start(), done)
        if place is None:
            continue
        begin, form, alt = place
        picture, named, end = _picture(source, match.start(), form, known)
        if picture is None and named is None:
            continue  # not a picture in base64: text like any other
        end, alt = _end(source, end, form, alt)
        out.append(source[done:begin])
        if picture is not None:
            name = _add(found, picture)
            out.append(_shown(form, alt, name, source, begin))
        else:
            found.notes.append(f"it refers to a picture that is not in the file: {named}")
            said = f"*(no picture here: the file has none named {_plain(named or '')})*"
            out.append(said if form != "definition" else "#")
        done = end
    rest = source[done:]
    found.notes = list(dict.fromkeys(found.notes))[:MOST_NOTES]
    if len(_SOURCE.findall(rest)) > MOST:
        found.notes.append(f"it refers to more than {MOST:,} pictures")
        rest = re.sub("attachment:", "attachment%3A", rest, flags=re.I)
    found.source = "".join([*out, rest])
    return found


def _known(attachments: Any) -> dict[str, tuple[str, str]]:
    """(kind, base64) by every way in which a text may spell an attachment's name."""
    known: dict[str, tuple[str, str]] = {}
    items = list(attachments.items())[:MOST] if isinstance(attachments, dict) else []
    for name, bundle in items:
        picture = _best(bundle) if isinstance(name, str) and name else None
        if picture is None:
            continue
        for form in ("NFC", "NFD", "NFKC"):
            plain = unicodedata.normalize(form, name)
            for way in (name, plain, unquote(plain), html.escape(plain), plain.replace(" ", "%20")):
                known.setdefault(way, picture)
            known.setdefault(quote(plain), picture)
            known.setdefault(quote(plain, safe="()!*'~,;:@&=+$/"), picture)
            known.setdefault(re.sub(r"([\\\[\]()_*])", r"\\\1", plain), picture)
    return dict(sorted(known.items(), key=lambda item: len(item[0]), reverse=True))


def _best(bundle: Any) -> tuple[str, str] | None:
    items = bundle.items() if isinstance(bundle, dict) else ()
    for kind, data in items:
        text = "".join(p for p in (data if isinstance(data, list) else [data]) if type(p) is str)
        if (picture := _checked(str(kind), text)) is not None:
            return picture
    return None


def _checked(kind: str, text: str) -> tuple[str, str] | None:
    """(kind, base64) of a picture, None where it is none that a browser shows."""
    text = "".join(text.split())
    try:
        begin = base64.b64decode(text[:64], validate=True)
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    kind = kind.lower().replace("image/jpg", "image/jpeg")
    kind = next((real for magic, real in _MAGIC if begin.lstrip().startswith(magic)), kind)
    return (kind, text) if text and kind in _ENDINGS else None


def _place(source: str, at: int, done: int) -> tuple[int, str, str] | None:
    """(where it begins, its form, its alternative text) of the picture whose source is ``at``."""
    first = max(done, at - LOOK_BACK)
    before = source[first:at]
    if match := _HTML.search(before):
        return first + match.start(), f"html{match[1]}", ""
    if match := _MARKDOWN.search(before):
        return first + match.start(), "markdown", match[1]
    line = max(source.rfind("\n", 0, at) + 1, done)
    if _DEFINED.match(source[line:at]):
        return at - source[line:at].endswith("<"), "definition", ""
    return None


def _picture(
    source: str, at: int, form: str, known: dict[str, tuple[str, str]]
) -> tuple[tuple[str, str] | None, str | None, int]:
    """(the picture, the name it was asked for by where there is none, where its source ends)."""
    if match := _DATA.match(source, at):
        picture = _checked(match[1], unquote(match[2]))
        return picture, None if picture else "inlined", match.end()
    if not source[at:].lower().startswith("attachment:"):
        return None, None, at
    begin = at + len("attachment:")
    for name in known:  # the longest first
        after = source[begin + len(name) : begin + len(name) + 1]
        if source.startswith(name, begin) and after in ("", ")", ">", '"', "'", " ", "\t", "\n"):
            return known[name], None, begin + len(name)
    end = _name_end(source, begin, form)
    return None, one_line(unquote(source[begin:end]), 60), end


def _name_end(source: str, begin: int, form: str) -> int:
    """Where a name that is no attachment's ends."""
    line = source.find("\n", begin)
    line = len(source) if line < 0 else line
    if form in ('html"', "html'"):
        close = source.find(form[-1], begin, line)
        return line if close < 0 else close
    if form == "html":
        found = re.compile(r"[\s>]").search(source, begin)
        return found.start() if found else line
    depth = 0
    for place in range(begin, line):
        depth += {"(": 1, ")": -1}.get(source[place], 0)
        if depth < 0 or source[place] == ">":
            return place
    return line


def _end(source: str, end: int, form: str, alt: str) -> tuple[int, str]:
    """Where the whole picture ends, and its alternative text."""
    if form.startswith("html"):
        close = source.find(">", end)
        close = len(source) if close < 0 else close + 1
        named = _ALT.search(source[max(0, end - 200) : close])
        return close, (named[1] or named[2] or "") if named else ""
    if form == "definition":
        return end + source.startswith(">", end), alt
    match = _TITLE.match(source, end)
    return (match.end() if match else end), alt


def _add(found: Pictured, picture: tuple[str, str]) -> str:
    kind, data = picture
    digest = hashlib.sha256(data.encode()).hexdigest()[:12]
    name = f"picture-{digest}.{_ENDINGS[kind]}"
    found.attachments[name] = {kind: data}
    return name


def _shown(form: str, alt: str, name: str, source: str, begin: int) -> str:
    if form == "definition":
        return f"attachment:{name}"
    text = f"![{_plain(alt)}](attachment:{name})"
    line = source[source.rfind("\n", 0, begin) + 1 : begin + 1]
    # inside a block of HTML markdown is read after an empty line only
    return f"\n\n{text}\n\n" if form.startswith("html") and line.lstrip()[:1] == "<" else text


def _plain(text: str) -> str:
    return re.sub(r"[\[\]()<>*`_!|\\]", " ", text).strip()[:100]
