"""A notebook's JSON in nbformat's form: whatever a tool left out, added or spelt otherwise.

Every repair is said once, with how many cells it concerns. The result depends on the file alone:
the same file gets the same ids.
"""

import re
from collections import Counter
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from labsupport.errors import LabError

MINOR = 5  # of nbformat 4: the one with cell ids
WAS = "labsupport_was"  # in a cell's metadata: the id it had, where another cell has it too
TYPES = ("code", "markdown", "raw")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_OLD_OUTPUTS = {"pyout": "execute_result", "pyerr": "error"}
_OUTPUT_FIELDS = {
    "stream": {"name", "text"},
    "display_data": {"data", "metadata"},
    "execute_result": {"data", "metadata", "execution_count"},
    "error": {"ename", "evalue", "traceback"},
}
_CELL_FIELDS = {"id", "cell_type", "metadata", "source"}
_OWN_FIELDS = {
    "code": _CELL_FIELDS | {"outputs", "execution_count"},
    "markdown": _CELL_FIELDS | {"attachments"},
    "raw": _CELL_FIELDS | {"attachments"},
}


class NoNotebook(LabError):
    """Why a JSON document is no notebook, in one line."""


def mended(loaded: Any) -> tuple[NotebookNode, list[str]]:
    """A JSON document as a valid notebook of nbformat 4.5, and what was repaired.

    Raises NoNotebook for what has no cells, and where the text of code is no text: then the work is
    not in the file, and a grade of it would be none.
    """
    said: Counter[str] = Counter()
    document = _current(loaded, said)
    metadata = _metadata(document.get("metadata"), said)
    if lost := sum(map(_has_lost_its_code, document["cells"])):
        raise NoNotebook(f"{lost} of its cells of code hold something that is no text")
    cells = []
    for raw in document["cells"]:
        mine: Counter[str] = Counter()
        cell = _cell(raw, mine)
        cells += [cell] if cell is not None else []
        said.update(mine.keys())  # once a cell, not once an output
    _give_ids(cells, said)
    notebook = nbformat.from_dict(
        {"nbformat": 4, "nbformat_minor": MINOR, "metadata": metadata, "cells": cells}
    )
    _drop_what_is_left(notebook, said)
    return notebook, [_counted(text, number) for text, number in said.items()]


def _counted(text: str, number: int) -> str:
    """A repair's text, with the number of cells that it concerns in its place."""
    return text if "{" not in text else text.format(f"{number} cell{'s' * (number > 1)}")


def _current(loaded: Any, said: Counter) -> dict:
    if not isinstance(loaded, dict):
        kind = {list: "a list", str: "a text", type(None): "nothing"}.get(type(loaded), "a number")
        raise NoNotebook(f"the JSON in it is {kind}")
    if isinstance(loaded.get("worksheets"), list):
        said[f"the file is of nbformat {loaded.get('nbformat', 3)}, and was read as 4"] += 1
        sheets = [s.get("cells") for s in loaded["worksheets"] if isinstance(s, dict)]
        cells = [c for sheet in sheets if isinstance(sheet, list) for c in sheet]
        return loaded | {"cells": [_of_nbformat_3(c) for c in cells]}
    if not isinstance(loaded.get("cells"), list):
        raise NoNotebook("it is JSON without a list of cells")
    if loaded.get("nbformat") != 4 or type(loaded["nbformat"]) is not int:
        said[f"the file says nbformat {str(loaded.get('nbformat'))[:20]}, and was read as 4"] += 1
    minor = loaded.get("nbformat_minor")
    if type(minor) is not int or minor < 0:
        said["the file does not say its minor number of nbformat"] += 1
    elif minor < MINOR and any(isinstance(c, dict) and "id" in c for c in loaded["cells"]):
        said[f"the file has cell ids, which its nbformat 4.{minor} has not"] += 1
    return loaded


def _of_nbformat_3(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    cell = dict(cell)
    if "input" in cell:
        cell["source"] = cell.pop("input")
    if "prompt_number" in cell:
        cell["execution_count"] = cell.pop("prompt_number")
    if cell.get("cell_type") == "heading":
        level = cell.pop("level", 1)
        marks = "#" * (level if isinstance(level, int) and 0 < level < 7 else 1)
        cell["source"] = f"{marks} {_text(cell.get('source'))}"
        cell["cell_type"] = "markdown"
    for field in ("language", "collapsed"):
        cell.pop(field, None)
    if isinstance(cell.get("outputs"), list):
        cell["outputs"] = [_output_of_nbformat_3(o) for o in cell["outputs"]]
    return cell


def _output_of_nbformat_3(output: Any) -> Any:
    if not isinstance(output, dict):
        return output
    output = dict(output)
    kind = output["output_type"] = _OLD_OUTPUTS.get(
        str(output.get("output_type")), output.get("output_type")
    )
    if "prompt_number" in output:
        output["execution_count"] = output.pop("prompt_number")
    if kind == "stream":
        output["name"] = output.pop("stream", "stdout")
    elif kind in ("display_data", "execute_result"):
        kinds = {"text": "text/plain", "html": "text/html", "latex": "text/latex"}
        kinds |= {"png": "image/png", "jpeg": "image/jpeg", "svg": "image/svg+xml"}
        data = {full: output.pop(short) for short, full in kinds.items() if short in output}
        output["data"] = data
    return output


def _metadata(found: Any, said: Counter) -> dict:
    if not isinstance(found, dict):
        said["the notebook's metadata were missing"] += 1
        found = {}
    metadata = dict(found)
    for name, needed in (("kernelspec", ("name", "display_name")), ("language_info", ("name",))):
        if name not in metadata:
            continue
        about = metadata[name]
        if not isinstance(about, dict) or any(not isinstance(about.get(n), str) for n in needed):
            lacks = [n for n in needed if not isinstance(about, dict) or n not in about]
            said[f"the notebook's {name} had no {' and no '.join(lacks) or 'valid name'}"] += 1
            del metadata[name]
    return metadata


def _cell(raw: Any, said: Counter) -> dict | None:
    if not isinstance(raw, dict):
        said["{} left out, which were no cells"] += 1
        return None
    kind = raw.get("cell_type")
    if kind not in TYPES:
        kind = "code" if "outputs" in raw or "execution_count" in raw else "markdown"
        said[f"{{}} of no known type, taken for {kind}"] += 1
    metadata = raw.get("metadata")
    if not isinstance(metadata, dict):
        said["{} without metadata"] += 1
        metadata = {}
    cell = {"cell_type": kind, "metadata": dict(metadata), "source": _source(raw, said)}
    if "id" in raw:
        cell["id"] = raw["id"]
    if kind == "code":
        count = raw.get("execution_count")
        if "execution_count" not in raw:
            said["{} of code without a count"] += 1
        cell["execution_count"] = count if type(count) is int and count >= 0 else None
        outputs = raw.get("outputs")
        if not isinstance(outputs, list):
            said["{} of code without outputs"] += 1
            outputs = []
        cell["outputs"] = [o for one in outputs if (o := _output(one, said)) is not None]
    elif "attachments" in raw:
        attachments = raw["attachments"]
        right = isinstance(attachments, dict) and all(
            isinstance(bundle, dict) for bundle in attachments.values()
        )
        if right:
            cell["attachments"] = attachments
        else:
            said["{} with attachments that are none"] += 1
    if raw.keys() - _OWN_FIELDS[kind]:
        said[f"{{}} of {kind} with fields of another kind of cell"] += 1
    return cell


def _has_lost_its_code(raw: Any) -> bool:
    if not isinstance(raw, dict) or raw.get("cell_type") != "code":
        return False
    source = raw.get("source")
    lines = source if isinstance(source, list) else [source]
    return source is not None and not all(isinstance(line, str) for line in lines)


def _source(raw: dict, said: Counter) -> str:
    source = raw.get("source")
    if isinstance(source, list) and len(source) > 1:
        lines = [line for line in source if isinstance(line, str)]
        if not any("\n" in line for line in lines):
            said["{} whose lines had lost their ends"] += 1
            source = "\n".join(lines)
    if not isinstance(source, str | list) or (
        isinstance(source, list) and not all(isinstance(line, str) for line in source)
    ):
        said["{} whose text was none"] += 1
    text = _text(source)
    if "\r" in text:
        said["{} with line ends of Windows"] += 1
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def _text(value: Any) -> str:
    parts = value if isinstance(value, list) else [value]
    return "".join(part for part in parts if isinstance(part, str))


def _output(raw: Any, said: Counter) -> dict | None:
    """An output with the fields of its type. Their contents are looked at where they are shown."""
    kind = raw.get("output_type") if isinstance(raw, dict) else None
    fields = _OUTPUT_FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        said["{} with an output of no known type, which was left out"] += 1
        return None
    output: dict[str, Any] = {"output_type": kind}
    if raw.keys() - fields - {"output_type"}:
        said["{} with outputs that have unknown fields"] += 1
    if fields - raw.keys() - {"metadata"}:
        said["{} with outputs that lack a field"] += 1
    if kind == "stream":
        output |= {"name": _string(raw, "name", "stdout"), "text": _text(raw.get("text"))}
    elif kind == "error":
        lines = raw.get("traceback")
        output |= {"ename": _string(raw, "ename"), "evalue": _string(raw, "evalue")}
        lines = lines if isinstance(lines, list) else []
        output["traceback"] = [line for line in lines if isinstance(line, str)]
    else:
        data, about = raw.get("data"), raw.get("metadata")
        output["data"] = data if isinstance(data, dict) else {}
        output["metadata"] = about if isinstance(about, dict) else {}
    if kind == "execute_result":
        count = raw.get("execution_count")
        output["execution_count"] = count if type(count) is int and count >= 0 else None
    return output


def _string(raw: dict, field: str, default: str = "") -> str:
    value = raw.get(field)
    return value if isinstance(value, str) else default


def _give_ids(cells: list[dict], said: Counter) -> None:
    """Every cell one id of its own; what it had stays known where a copy of a cell has it too."""
    seen = {c["id"] for c in cells if isinstance(c.get("id"), str) and _ID.match(c["id"])}
    used: set[str] = set()
    lacking = sum("id" not in c for c in cells)
    for number, cell in enumerate(cells):
        name = cell.get("id")
        if isinstance(name, str) and _ID.match(name) and name not in used:
            used.add(name)
            continue
        if "id" in cell:
            twice = isinstance(name, str) and name in used
            said["{} with the id of another" if twice else "{} with an invalid id"] += 1
            if twice:
                cell["metadata"][WAS] = name
        made = f"cell-{number}"
        while made in seen or made in used:
            made += "x"
        cell["id"] = made
        used.add(made)
    if 0 < lacking < len(cells):  # none at all: it is older than ids
        said["{} without an id"] += lacking


def _drop_what_is_left(notebook: NotebookNode, said: Counter) -> None:
    """What nbformat still finds wrong is in what nobody here reads: it goes."""
    for error in list(nbformat.validator.iter_validate(notebook, version=4, version_minor=MINOR)):
        where = list(error.absolute_path)
        if where[:1] == ["cells"] and len(where) > 1:
            cell = notebook.cells[where[1]]
            names = ("nbgrader", "labsupport", WAS)
            cell["metadata"] = NotebookNode(
                {k: v for k, v in cell["metadata"].items() if k in names}
            )
            cell.pop("attachments", None)
            if cell["cell_type"] == "code":
                cell["outputs"] = []
            said["{} with metadata or outputs that nbformat does not know"] += 1
        else:
            keep = notebook.metadata.get("labsupport")
            notebook["metadata"] = NotebookNode({"labsupport": keep} if keep else {})
            said["the notebook's metadata were not valid"] += 1
