"""The page of the long runs: what data/results holds, as tables."""

import ast
from html import escape
from pathlib import Path
from typing import Any

from labsupport.data.results import Result, read_result

MANY = 12  # records; more are folded

HEAD = """\
# Results of the long runs

Figures that take hours come from experiments. Each is run by its command and keeps what it
measured, with machine and settings; the labs' notebooks read it. Losses are in nats,
accuracies and IoU from 0 to 1, PSNR in dB, times in seconds, costs in multiply-accumulates.
A dash: not applicable.
"""


def results_page(root: Path, titles: dict[str, str]) -> str:
    """Markdown of the results of the labs in ``titles``, stem -> title. Raises LabError where a
    file is not of its form."""
    parts = [HEAD]
    for stem, title in titles.items():
        number = stem[:2]
        paths = sorted((root / "data" / "results").glob(f"{number}_*.json"))
        if paths:
            parts.append(f"## {title}\n\n[The lab]({stem}.ipynb)\n")
        parts += [_section(root, path) for path in paths]
    return "\n".join(parts)


def _section(root: Path, path: Path) -> str:
    result = read_result(path)
    number, _, name = path.stem.partition("_")
    heading = name.replace("_", " ").capitalize()
    asked = _asked(root / "labsupport" / "experiments" / f"lab{number}" / f"{name}.py")
    machine = result.machine
    where = machine.get("cuda") or f"{machine['cpu']}, {_count(machine['threads'], 'thread')}"
    how = f"`{result.command}` · {result.date} · {where} · {_duration(result.seconds)}"
    return "\n\n".join(filter(None, (f"### {heading}", asked, how, _records(result, heading))))


def _asked(module: Path) -> str:
    """The first line of an experiment's own words, without the lab's number."""
    if not module.is_file():
        return ""
    said = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    asked = " ".join(said.partition("\n\n")[0].split())
    label, colon, rest = asked.partition(": ")
    asked = rest if colon and label.lower().startswith("lab ") else asked
    return escape(asked[:1].upper() + asked[1:])


def _records(result: Result, heading: str) -> str:
    names = list(dict.fromkeys(name for record in result.records for name in record))
    head = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(_value(record.get(n)))}</td>" for n in names) + "</tr>"
        for record in result.records
    )
    table = (
        f'<div class="wide" tabindex="0"><table><caption>{escape(heading)}: '
        f"{_count(len(result.records), 'record')}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
    if len(result.records) <= MANY:
        return table
    summary = f"Show all {len(result.records)} records of: {heading}"
    return f'<details class="hide"><summary>{escape(summary)}</summary>{table}</details>'


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(f"({_value(v)})" if isinstance(v, list) else _value(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_value(v)}" for name, v in value.items())
    return str(value)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
