"""A lab's prose, and the numbers that its sentences may be held against."""

import html
import json
import re
from functools import cached_property
from statistics import mean, stdev

import nbformat

from labsupport.course.lab import BEGIN
from labsupport.course.source import find_labs, read_lab
from tests.conftest import ROOT

ABOUT_A_RUN = re.compile(
    r"\bin (our run|the (run|runs) shown|the long run|the stored (run|runs|record))\b", re.I
)


def plain(text):
    """Text on one line, without the marks of emphasis and of code."""
    return " ".join(text.replace("*", "").replace("`", "").split())


class Run:
    """The lab with a number ("01"): its prose, what it `claims`, stored results, and its outputs.

    `claims` are the paragraphs of prose and model answers; a question claims nothing.
    """

    def __init__(self, number):
        self.path = find_labs(ROOT / "solutions", [number])[0]
        cells = read_lab(self.path).cells
        texts = {c.id: c.source for c in cells if c.kind in ("prose", "question")}
        answers = [t.partition(BEGIN)[2] if BEGIN in t else t for t in texts.values()]
        self.claims = [plain(p) for text in answers for p in re.split(r"\n\s*\n", text)]
        self.prose = "\n".join(plain(text) for text in texts.values())

    def stored(self, name):
        """A file of data/results as it was written."""
        return json.loads((ROOT / "data" / "results" / f"{name}.json").read_text())

    @cached_property
    def _outputs(self):
        cells = nbformat.read(self.path.with_suffix(".ipynb"), as_version=4).cells
        return {c.id: c.get("outputs", []) for c in cells}

    def printed(self, cell):
        """What a cell of the executed solution prints."""
        return "".join(o.get("text", "") for o in self._outputs[cell])

    def alt(self, cell):
        """The words of a cell's pictures."""
        shown = (o.get("metadata", {}).get("image/png", {}) for o in self._outputs[cell])
        return " ".join(s.get("alt", "") for s in shown)

    def table(self, cell):
        """The rows of the tables that a cell shows, as lists of texts, without their heads."""
        shown = "".join(o.get("data", {}).get("text/html", "") for o in self._outputs[cell])
        rows = re.findall(r"<tr.*?</tr>", shown, re.S)
        texts = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S) for row in rows]
        heads = [bool(re.search("<td", row)) for row in rows]
        return [
            [html.unescape(re.sub("<[^>]+>", "", t)).strip() for t in row]
            for row, body in zip(texts, heads)
            if body
        ]

    def row(self, cell, *begin):
        """The first row of a cell's tables that begins with these texts."""
        return next(r for r in self.table(cell) if r[: len(begin)] == list(begin))


def numbers(text):
    """All numbers of a text: "731 M · 81.3 ms · 1.00 ×" gives 731, 81.3 and 1."""
    return [float(n.replace(",", "")) for n in re.findall(r"-?\d[\d,]*\.?\d*", text)]


def by(records, *keys):
    """Records by the values of some keys: (value, …), or the value of one key."""
    groups = {}
    for record in records:
        found = tuple(record[k] for k in keys)
        groups.setdefault(found if len(keys) > 1 else found[0], []).append(record)
    return groups


def percent(records, key):
    """Mean of a share over records, in percent."""
    return 100 * mean(r[key] for r in records)


def spread(records, key):
    """Standard deviation of a share over records, in percent."""
    return 100 * stdev(r[key] for r in records)
