"""The header of a lab's source: what stands under ``lab:`` in the YAML at its top."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from labsupport.course.lab import SourceError

KEYS = ("number", "title", "minutes", "masks")


@dataclass(frozen=True)
class Header:
    """See :class:`labsupport.course.lab.Lab`."""

    number: str
    title: str
    minutes: int | None = None
    masks: tuple[str, ...] = ()


def read_header(path: Path, text: str) -> Header:
    """The header of a source's ``text``. Raises SourceError with the line of what is wrong."""
    lab, lines = _lab_part(path, text)

    def refuse(key: str, problem: str, mend: str) -> None:
        raise SourceError(path, lines.get(key, 1), problem, mend)

    for key in lab:
        if key not in KEYS:
            refuse(key, f"unknown key {key!r} in the header", f"allowed: {', '.join(KEYS)}")
    for key in ("number", "title"):
        if key not in lab:
            refuse(key, f"the header says no lab {key}", f"add '{key}:' under 'lab:' in the header")
        if not isinstance(lab[key], str) or not lab[key].strip():
            refuse(key, f"{key} is not a text", f'write it in quotes: {key}: "..."')
    minutes = lab.get("minutes")
    if minutes is not None and (type(minutes) is not int or minutes <= 0):
        refuse("minutes", f"minutes is {minutes!r}", "write a whole number: minutes: 180")
    masks = lab.get("masks") or []
    if not isinstance(masks, list) or not all(isinstance(name, str) for name in masks):
        refuse("masks", "masks is not a list of files", 'write masks: ["models/vit.py"]')
    package = Path(__file__).parents[1]
    for name in masks:
        if not (package / name).is_file():
            refuse(
                "masks",
                f"masks: there is no {name} in the package",
                "name a file such as models/vit.py",
            )
    return Header(lab["number"], lab["title"], minutes, tuple(masks))


def _lab_part(path: Path, text: str) -> tuple[dict[str, Any], dict[str, int]]:
    """What stands under ``lab:``, and the line of each of its keys; empty where there is none."""
    match = re.match(r"# ---\n((?:#.*\n)*?)# ---\n", text)
    if not match:
        return {}, {}
    header = re.sub(r"(?m)^# ?", "", match.group(1))
    try:
        tree, values = yaml.compose(header, yaml.SafeLoader), yaml.safe_load(header)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise SourceError(
            path,
            2 + (mark.line if mark else 0),  # the first line is the '# ---'
            f"YAML cannot read the header: {getattr(error, 'problem', None) or 'it is no YAML'}",
            "put a text that holds a colon or another sign into quotes",
        ) from None
    if not isinstance(tree, yaml.MappingNode) or not isinstance(values.get("lab"), dict):
        return {}, {}
    marks = {key.value: (key, value) for key, value in tree.value}
    line = {key.value: 2 + key.start_mark.line for key, _ in marks["lab"][1].value}
    for name in values:
        if name not in ("jupyter", "lab"):  # jupytext's own, and ours
            raise SourceError(
                path,
                2 + marks[name][0].start_mark.line,
                f"unknown key {name!r} in the header",
                "what is said of a lab stands, indented, under 'lab:'",
            )
    return values["lab"], line
