"""Results of the long runs: what a file in data/results/ holds, and its one reader.

A file is a JSON object. Its first seven entries are the same in all of them and say how to make it
again (`Result`); whatever else is in it are lists or tables that do not belong on the same curve as
its records, each under a name of its own: a curve of the loss, a table of latencies.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from labsupport.errors import LabError
from labsupport.files import data_path

DATE = "%Y-%m-%d %H:%M UTC"
COMMAND = re.compile(r"labs experiment \d\d \w+")


@dataclass(frozen=True)
class Result:
    """What an experiment measured, and all that is needed to measure it again.

    Attributes:
        command: what to type, "labs experiment NN NAME"; the file is named NN_NAME.json.
        date: when the file was written, "2026-11-26 15:05 UTC".
        machine: "cpu" (the processor's name), "threads" (of PyTorch), "cuda" (the GPU's name, or
            None where there is none).
        versions: of Python and of the packages a result depends on, name -> version.
        seconds: wall time of the whole experiment, killed runs and other work on the machine
            included; a record's own "seconds" are its training's or, in a table of latencies, a
            call's.
        settings: all that the records depend on, so that equal settings give equal records up to
            the machine's rounding, and a run that was killed goes on only under its own.
        records: one dictionary a thing measured: first what was measured (a net, a seed, a split:
            words and numbers), then what came out. Losses are in nats, accuracies, IoU and other
            shares from 0 to 1, PSNR in dB, times in seconds, costs in multiply-accumulates; None
            is "not applicable". Equal keys mean the same in all records of a list.
        more: further lists and tables, name -> entries like those of `records`, or a list of
            numbers (a loss), or a table of either.
    """

    command: str
    date: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    seconds: float
    settings: Mapping[str, Any]
    records: list[dict[str, Any]]
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of the file: an entry for every attribute, those of `more` beside the others."""
        entries = {name: getattr(self, name) for name in _NAMES}
        return json.dumps(entries | dict(self.more), indent=1) + "\n"

    def one(self, **values: Any) -> dict[str, Any]:
        """The one record with these values, such as `one(net="CLIP", seed=0)`.

        Raises LabError where there is none or several.
        """
        found = [r for r in self.records if all(r.get(k) == v for k, v in values.items())]
        if len(found) == 1:
            return found[0]
        asked = ", ".join(f"{name}={value!r}" for name, value in values.items())
        known = {name: sorted({repr(r.get(name)) for r in self.records}) for name in values}
        there = "; ".join(f"{name}: {', '.join(some)}" for name, some in known.items())
        raise LabError(
            f"{self.command}: {len(found) or 'no'} records have {asked}; in its records are {there}"
        )


_NAMES = tuple(entry.name for entry in fields(Result) if entry.name != "more")
_KINDS: dict[str, tuple[type, ...]] = {
    "command": (str,),
    "date": (str,),
    "machine": (dict,),
    "versions": (dict,),
    "seconds": (int, float),
    "settings": (dict,),
    "records": (list,),
}


def as_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a file gives them back: tuples are lists, and every key is a word."""
    return json.loads(json.dumps(settings))


def read_result(source: str | Path) -> Result:
    """The results of an experiment: of the name of a file shipped with the labs ("05_sparsity"),
    or of the path of a .json file.

    Raises FileNotFoundError where there is no such file, and LabError, in one line that names the
    file, where it is not what `Result` says.
    """
    path = Path(source)
    if path.suffix != ".json":
        path = data_path("results", f"{source}.json")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise LabError(f"{path}: not a result file: {error}") from None
    fault = _fault(entries)
    if fault:
        raise LabError(f"{path}: not a result file: {fault}")
    more = {name: value for name, value in entries.items() if name not in _NAMES}
    return Result(**{name: entries[name] for name in _NAMES}, more=more)


def _fault(entries: Any) -> str:
    """What is wrong with the contents of a result file, or nothing."""
    if not isinstance(entries, dict):
        return f"it holds a {type(entries).__name__}, not an object"
    for name, kinds in _KINDS.items():
        if name not in entries:
            return f"it has no {name!r}"
        if not isinstance(entries[name], kinds) or isinstance(entries[name], bool):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            return f"{name!r} is a {type(entries[name]).__name__}, not a {wanted}"
    if not COMMAND.fullmatch(entries["command"]):
        return f"'command' is {entries['command']!r}, not \"labs experiment NN NAME\""
    try:
        datetime.strptime(entries["date"], DATE)
    except ValueError:
        return f"'date' is {entries['date']!r}, not like \"2026-11-26 15:05 UTC\""
    if missing := {"cpu", "threads", "cuda"} - entries["machine"].keys():
        return f"'machine' has no {min(missing)!r}"
    for number, record in enumerate(entries["records"]):
        if not isinstance(record, dict):
            return f"record {number} is a {type(record).__name__}, not an object"
    return ""
