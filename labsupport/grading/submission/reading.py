"""A submitted file, read: whatever nbformat can be brought to is a notebook; what was repaired on
the way is said. What is none says what it is instead, and what to ask the student for.
"""

import codecs
import json
import math
import re
from pathlib import Path
from typing import Any

from nbformat.notebooknode import NotebookNode

from labsupport.answers.text import one_line
from labsupport.errors import LabError
from labsupport.grading.submission.handed_in import refusal, wrong_time
from labsupport.grading.submission.mending import NoNotebook, mended

ASK = "ask for it"
AGAIN = "ask for it to be handed in again"
SAVE = "ask for the notebook itself, as Jupyter saves it"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF8, "utf-8", "a byte order mark"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
# What other files begin with.
_OTHERS = (
    (b"PK\x03\x04", "a zip file"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"{\\rtf", "an RTF document"),
    (b"version https://git-lfs", "a pointer of Git LFS and not the file it stands for"),
)
_HTML = re.compile(r"\s*(?:<!--(?:(?!-->).)*-->\s*)*<(!doctype html|html|head|body)\b", re.I | re.S)
_CONFLICT = re.compile(r"^(<{7} |>{7} )", re.M)
_PYTHON = re.compile(
    r"^[ \t]*(import \w|from \w[\w.]* import|def \w+\(|class \w+|# ?%%|#!.*python)", re.M
)


class Unreadable(LabError):
    """Why a file cannot be read as a notebook, and the mend, in one line without its name."""

    @property
    def reason(self) -> str:
        """Without what to ask a student for."""
        return str(self).rpartition("; ask for")[0] or str(self)


def as_text(data: bytes) -> str:
    """A file's bytes as text that ``read_submission`` takes for the very same bytes."""
    return data.decode("utf-8", "surrogateescape")


def read_submission(submitted: bytes | str) -> tuple[NotebookNode, list[str]]:
    """The notebook of a submitted file, valid for nbformat 4.5, and what was repaired.

    Raises Unreadable, one line, for what is no notebook.
    """
    repairs: list[str] = []
    loaded = json_of(submitted, repairs)
    try:
        notebook, more = mended(loaded)
    except NoNotebook as error:
        raise Unreadable(f"is no notebook: {error}; {SAVE}") from None
    except RecursionError:
        raise Unreadable(f"is no notebook: it is nested too deeply; {SAVE}") from None
    return notebook, repairs + more


def json_of(submitted: bytes | str, repairs: list[str] | None = None) -> Any:
    """The JSON in a submitted file, in any encoding; raises Unreadable where there is none."""
    repairs = [] if repairs is None else repairs
    text = _decoded(_bytes(submitted), repairs) if _is_file(submitted) else str(submitted)
    return _loaded(text, repairs)


def unreadable(folder: Path, assignment: str, student: str) -> str:
    """Why the submitted notebook cannot be read, in one line, or ""."""
    place = folder / "submitted" / student / assignment
    path = place / f"{assignment}.ipynb"
    if refused := refusal(folder, assignment, student):
        return refused
    if not path.exists():
        others = ", ".join(p.name for p in sorted(place.glob("*.ipynb"))) or "no notebook"
        return f"{path.name} was not handed in (there is {others}): rename what is it, or {ASK}"
    if wrong := wrong_time(folder, assignment, student):
        return wrong
    try:
        read_submission(path.read_bytes())
    except Unreadable as error:
        return f"{path.name} {error}"
    except Exception as error:
        line = str(error).splitlines()[0] if str(error) else ""
        return f"{path.name} is not a notebook: {type(error).__name__}: {line[:120]}; {SAVE}"
    return ""


def _is_file(submitted: bytes | str) -> bool:
    """Whether it can be a file's bytes; a text with halves of characters can be none."""
    if isinstance(submitted, str):
        try:
            submitted.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return False
    return True


def _bytes(submitted: bytes | str) -> bytes:
    return (
        submitted if isinstance(submitted, bytes) else submitted.encode("utf-8", "surrogateescape")
    )


def _decoded(data: bytes, repairs: list[str]) -> str:
    if not data.strip(b"\0 \t\r\n"):
        raise Unreadable(f"is empty ({len(data):,} bytes without a letter); {AGAIN}")
    for mark, encoding, name in _MARKS:
        if data.startswith(mark):
            repairs.append(f"the file was saved with {name}" if "mark" in name else _saved(name))
            return data[len(mark) :].decode(encoding, "replace")
    for begin, what in _OTHERS:
        if data.startswith(begin):
            raise Unreadable(f"is {what} under a notebook's name; {SAVE}")
    if data[1:2] == b"\0" or data[:1] == b"\0":  # UTF-16 without its mark
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        if (text := data.decode(encoding, "replace")).lstrip().startswith("{"):
            repairs.append(_saved("UTF-16"))
            return text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        repairs.append("the file was not saved in UTF-8 and was read as Windows-1252")
        return data.decode("cp1252", "replace")


def _saved(name: str) -> str:
    return f"the file was saved in {name} and not in UTF-8"


def _loaded(text: str, repairs: list[str]) -> Any:
    begin = text.lstrip("\0 \t\r\n\ufeff")
    numbers: list[str] = []

    def number(text: str) -> float | None:
        value = float(text)
        if math.isfinite(value):
            return value
        numbers.append(text)  # 1e999, say
        return None

    decoder = json.JSONDecoder(strict=False, parse_constant=numbers.append, parse_float=number)
    try:
        loaded, end = decoder.raw_decode(begin)
        while isinstance(loaded, str) and loaded.lstrip()[:1] == "{":
            inner = loaded.lstrip()
            loaded, _ = decoder.raw_decode(inner)
            repairs.append("the notebook stood in the file as a text inside JSON")
    except json.JSONDecodeError as error:
        raise Unreadable(_why(begin, error)) from None
    except ValueError as error:  # a number of thousands of digits
        raise Unreadable(f"is no notebook: {one_line(error, 80)}; {SAVE}") from None
    except RecursionError:
        raise Unreadable(f"is no notebook: it is nested too deeply; {SAVE}") from None
    if left := begin[end:].strip("\0 \t\r\n"):
        repairs.append(f"{len(left):,} characters after the end of the notebook were left out")
    elif "\0" in begin[end:]:
        repairs.append("empty bytes after the end of the notebook were left out")
    if numbers:
        repairs.append("numbers that JSON does not know (NaN, Infinity) were left out")
    return loaded


def _why(text: str, error: json.JSONDecodeError) -> str:
    if _HTML.match(text[:5000]):
        return f"is a web page under a notebook's name (saved from the browser, say); {SAVE}"
    if _CONFLICT.search(text) and text.startswith("{"):
        return f"is damaged: a conflict of Git is unresolved in it; {AGAIN}"
    if not text.startswith(("{", "[", '"')):
        what = "Python code" if _PYTHON.search(text[:10_000]) else "text"
        return f"is {what} under a notebook's name and no notebook; {SAVE}"
    return (
        f"is damaged: JSON breaks off or goes wrong in line {error.lineno} ({error.msg}); {AGAIN}"
    )
