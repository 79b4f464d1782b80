"""Files as people hand them in, damaged by one thing each: what is read of them, and what is said.

No kernel and no course: bytes in, notebook out.
"""

import copy
import json

import nbformat
import pytest

from labsupport.grading.submission.reading import Unreadable, as_text, read_submission, unreadable

CODE = "def twice(x):\n    return 2 * x\n"


def document() -> dict:
    """A small notebook of nbformat 4.5 as JSON has it."""
    stream = {"output_type": "stream", "name": "stdout", "text": "done\n"}
    result = {
        "output_type": "execute_result",
        "execution_count": 2,
        "metadata": {},
        "data": {"text/plain": "4"},
    }
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python"},
        },
        "cells": [
            {"id": "top", "cell_type": "markdown", "metadata": {}, "source": "# Lab · ₹"},
            {
                "id": "ex",
                "cell_type": "code",
                "metadata": {},
                "source": CODE,
                "execution_count": 1,
                "outputs": [stream],
            },
            {
                "id": "use",
                "cell_type": "code",
                "metadata": {},
                "source": "twice(2)",
                "execution_count": 2,
                "outputs": [result],
            },
        ],
    }


def dumped(found: dict) -> bytes:
    return json.dumps(found, ensure_ascii=False, indent=1).encode()


def edited(change) -> bytes:
    found = document()
    change(found)
    return dumped(found)


def _set(place: str, key: str, value):
    """The document with ``value`` in a cell (by id), the kernelspec, or the top."""

    def change(found):
        named = {"": found} | {c["id"]: c for c in found["cells"]} | found["metadata"]
        named["meta"] = found["metadata"]
        named["output"] = found["cells"][1]["outputs"][0]
        named["result"] = found["cells"][2]["outputs"][0]
        named[place][key] = value

    return edited(change)


def _lose(place: str, key: str):
    def change(found):
        named = {"": found} | {c["id"]: c for c in found["cells"]} | found["metadata"]
        named["output"] = found["cells"][1]["outputs"][0]
        named["result"] = found["cells"][2]["outputs"][0]
        del named[place][key]

    return edited(change)


def _of_nbformat_3() -> bytes:
    cells = [
        {"cell_type": "heading", "level": 2, "metadata": {}, "source": ["Lab"]},
        {
            "cell_type": "code",
            "collapsed": False,
            "language": "python",
            "input": CODE,
            "prompt_number": 1,
            "metadata": {},
            "outputs": [
                {"output_type": "stream", "stream": "stdout", "text": "done\n"},
                {"output_type": "pyout", "prompt_number": 1, "text": "4", "metadata": {}},
                {"output_type": "pyerr", "ename": "E", "evalue": "e", "traceback": []},
            ],
        },
    ]
    sheets = [{"cells": cells, "metadata": {}}]
    return dumped(
        {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": sheets}
    )


PLAIN = dumped(document())
# what was done: (the file, a word of what is said of it; "" for nothing)
DAMAGE = {
    "nothing": (PLAIN, ""),
    "line ends of Windows between the lines": (PLAIN.replace(b"\n", b"\r\n"), ""),
    "a line end after it": (PLAIN + b"\r\n", ""),
    "a byte order mark": (b"\xef\xbb\xbf" + PLAIN, "byte order mark"),
    "UTF-16": (PLAIN.decode().encode("utf-16"), "UTF-16"),
    "UTF-16 the other way": (b"\xfe\xff" + PLAIN.decode().encode("utf-16-be"), "UTF-16"),
    "UTF-16 without a mark": (PLAIN.decode().encode("utf-16-le"), "UTF-16"),
    "UTF-32": (PLAIN.decode().encode("utf-32"), "UTF-32"),
    "NUL bytes at the end": (PLAIN + b"\0" * 512, "empty bytes after the end"),
    "text at the end": (PLAIN + b"\n}\n// saved twice", "after the end of the notebook"),
    "the end of an older, longer file": (PLAIN + PLAIN[-300:], "after the end of the notebook"),
    "JSON in a string": (json.dumps(PLAIN.decode()).encode(), "text inside JSON"),
    "no count of a code cell": (_lose("ex", "execution_count"), "without a count"),
    "a count that is text": (_set("ex", "execution_count", "1"), ""),
    "a result without a count": (_lose("result", "execution_count"), "lack a field"),
    "a markdown cell with outputs": (_set("top", "outputs", []), "another kind of cell"),
    "a markdown cell with a count": (_set("top", "execution_count", None), "another kind"),
    "no outputs": (_lose("ex", "outputs"), "without outputs"),
    "a stream with metadata": (_set("output", "metadata", {"a": 1}), "unknown fields"),
    "a stream without a name": (_lose("output", "name"), "lack a field"),
    "an output of no type": (_lose("output", "output_type"), "no known type"),
    "an output that is none": (_set("ex", "outputs", [None, 3]), "no known type"),
    "data that is none": (_set("result", "data", None), ""),
    "no name of the kernel to show": (_lose("kernelspec", "display_name"), "no display_name"),
    "no name of the kernel": (_lose("kernelspec", "name"), "no name"),
    "a kernelspec that is none": (_set("meta", "kernelspec", None), "kernelspec"),
    "no name of the language": (_lose("language_info", "name"), "no name"),
    "a title that is none": (_set("meta", "title", 3), "not valid"),
    "no metadata of the notebook": (_lose("", "metadata"), "metadata were missing"),
    "metadata that are null": (_set("", "metadata", None), "metadata were missing"),
    "a cell without metadata": (_lose("ex", "metadata"), "without metadata"),
    "a cell with null metadata": (_set("ex", "metadata", None), "without metadata"),
    "tags that are text": (_set("ex", "metadata", {"tags": "x"}), "does not know"),
    "a field of its own in a cell": (_set("ex", "vscode", {}), "another kind of cell"),
    "a top field of its own": (_set("", "filename", "x"), ""),
    "source as lines": (_set("ex", "source", CODE.splitlines(keepends=True)), ""),
    "source as lines without their ends": (_set("ex", "source", CODE.splitlines()), "lost their"),
    "source with line ends of Windows": (
        _set("ex", "source", CODE.replace("\n", "\r\n")),
        "line ends of Windows",
    ),
    "no source": (_lose("use", "source"), "whose text was none"),
    "source that is null": (_set("use", "source", None), "whose text was none"),
    "ids in minor 4": (_set("", "nbformat_minor", 4), "cell ids"),
    "a minor of the future": (_set("", "nbformat_minor", 9), ""),
    "no minor": (_lose("", "nbformat_minor"), "minor number"),
    "no number of the format": (_lose("", "nbformat"), "read as 4"),
    "a format that is text": (_set("", "nbformat", "4"), "read as 4"),
    "a format of the future": (_set("", "nbformat", 5), "read as 4"),
    "nbformat 3": (_of_nbformat_3(), "nbformat 3"),
    "an id twice": (_set("use", "id", "ex"), "id of another"),
    "an id with a blank": (_set("use", "id", "a b"), "invalid id"),
    "an id that is a number": (_set("use", "id", 7), "invalid id"),
    "one id missing": (_lose("use", "id"), "without an id"),
    "a cell that is none": (edited(lambda d: d["cells"].append(None)), "no cells"),
    "a cell of no type": (_lose("ex", "cell_type"), "taken for code"),
    "attachments that are none": (_set("top", "attachments", [1]), "attachments"),
    "NaN": (_set("meta", "score", float("nan")), "NaN"),
    "Infinity": (_set("result", "metadata", {"x": float("inf")}), "Infinity"),
    "a number too large": (PLAIN.replace(b'"nbformat": 4,', b'"x": 1e999, "nbformat": 4,'), "NaN"),
    "a control character": (PLAIN.replace(b"done\\n", b"do\tne\\n"), ""),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_whatever_nbformat_can_be_brought_to_is_read_and_said(case):
    data, word = DAMAGE[case]
    notebook, repairs = read_submission(data)
    nbformat.validate(copy.deepcopy(notebook))
    json.dumps(notebook, allow_nan=False)
    assert nbformat.reads(nbformat.writes(notebook), as_version=4) == notebook
    assert CODE.strip() in [c.source.strip() for c in notebook.cells]
    assert word in "; ".join(repairs)
    assert bool(word) == bool(repairs) and len(repairs) < 3
    # a worker is handed text, and says the same
    assert read_submission(as_text(data)) == (notebook, repairs)


def test_a_code_page_of_windows_is_read():
    data = dumped(document()).replace("₹".encode(), b"\xfc")
    notebook, repairs = read_submission(data)
    assert notebook.cells[0].source.endswith("ü") and "Windows-1252" in repairs[0]
    assert read_submission(as_text(data)) == (notebook, repairs)


def test_half_a_character_in_json_is_no_damage():
    data = dumped(document()).replace("₹".encode(), b"\\ud83d")
    notebook, repairs = read_submission(data)
    assert notebook.cells[0].source.endswith("\ud83d") and not repairs


def test_outputs_of_nbformat_3_are_those_of_4():
    notebook, _ = read_submission(_of_nbformat_3())
    assert notebook.cells[0].source == "## Lab"
    stream, result, error = notebook.cells[1].outputs
    assert (stream.name, result.data["text/plain"], error.ename) == ("stdout", "4", "E")


# what is in the file: what is said of it, with what to ask for
NONE = {
    "nothing": (b"", "is empty"),
    "blanks and NULs": (b"\0" * 4096 + b" \n", "is empty"),
    "half of it": (PLAIN[: len(PLAIN) // 2], "is damaged: JSON breaks off"),
    "a web page": (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page"),
    "a web page after a comment": (b"<!-- saved -->\n<html></html>", "is a web page"),
    "Python": (b"import torch\n\ndef twice(x):\n    return 2 * x\n", "is Python code"),
    "Python of jupytext": (b"# %% [markdown]\n# Lab\n", "is Python code"),
    "a letter": (b"Dear professor, my notebook is in the cloud.", "is text"),
    "a zip file": (b"PK\x03\x04" + b"\0" * 100, "is a zip file"),
    "a PDF": (b"%PDF-1.7 ...", "is a PDF"),
    "a conflict of Git": (
        PLAIN.replace(b' "nbformat": 4,', b'<<<<<<< HEAD\n "nbformat": 4,'),
        "conflict of Git",
    ),
    "a list": (b"[1, 2]", "the JSON in it is a list"),
    "a number": (b'"4711"', "the JSON in it is a text"),
    "other JSON": (b'{"paragraphs": []}', "without a list of cells"),
    "a pit": (b'{"cells": ' + b"[" * 200_000, "is nested too deeply"),
    "a number without end": (b'{"cells": ' + b"9" * 5000 + b"}", "is no notebook"),
    "comments without end": (b"<!-- a --> " * 3000, "is text"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid x\n", "Git LFS"),
}


@pytest.mark.parametrize("case", NONE)
def test_what_is_no_notebook_says_so_and_what_to_ask_for(case):
    data, words = NONE[case]
    with pytest.raises(Unreadable) as caught:
        read_submission(data)
    assert words in str(caught.value) and "; ask for" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named_and_one_that_can_is_not(tmp_path):
    place = tmp_path / "submitted" / "ada" / "90_mini"
    place.mkdir(parents=True)
    assert "was not handed in" in unreadable(tmp_path, "90_mini", "ada")
    path = place / "90_mini.ipynb"
    path.write_bytes(b"<html></html>")
    assert unreadable(tmp_path, "90_mini", "ada").startswith("90_mini.ipynb is a web page")
    path.write_bytes(PLAIN.decode().encode("utf-16"))
    assert unreadable(tmp_path, "90_mini", "ada") == ""
