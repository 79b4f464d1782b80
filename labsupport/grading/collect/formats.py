"""Formats of downloads: who handed in what, by the names that Canvas, Moodle, Gradescope give.

Canvas      ``doejane_LATE_4711_90210_lab-1.ipynb``: name, user's id, upload's id, file
Moodle      ``Jane Doe_1234_assignsubmission_file_/lab.ipynb``, or that in one flat name
Gradescope  ``assignment_1_export/submission_2/lab.ipynb`` and ``submission_metadata.yml``

Source: Canvas' lib/content_zipper.rb and Moodle's mod/assign/classes/downloader.php.
"""

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from labsupport.errors import CourseError
from labsupport.grading.collect.archive import Source
from labsupport.grading.collect.gradescope import read_gradescope
from labsupport.grading.collect.handin import HandIn, Notebook

# A platform stamps the files of a download with the time of packing; times further apart than
# this are the files' own.
PACKING = datetime.timedelta(hours=1)

_CANVAS_ANONYMOUS = re.compile(
    r"(?:(?P<late>LATE)_)?(?P<name>)(?P<user>anon_[A-Za-z0-9]+)_(?P<attempt>\d+)_(?P<file>.+)"
)
_CANVAS = re.compile(
    r"(?:(?P<name>\w*?)_)?(?:(?P<late>LATE)_)?(?P<user>\d+)_"
    r"(?:(?P<attempt>\d+)_(?P<file>.+)|(?P<kind>text|link)\.html)"
)
_MOODLE = re.compile(
    r"(?P<name>[^_]+)_(?P<user>\d+)_(?:assignsubmission_(?P<kind>[a-z]+)|(?P<old>file|onlinetext))"
    r"(?:_(?P<file>.*))?"
)
_AGAIN = re.compile(r"(?P<base>.+?)(?:-(?P<count>\d{1,3}))?\.ipynb", re.I)


@dataclass
class Reading:
    """A source understood. ``stray``: notebooks that no student's name could be read from."""

    format: str
    hand_ins: list[HandIn] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    as_of: datetime.datetime | None = None  # when it was downloaded, as far as known


def read_source(source: Source, form: str = "", times: str = "auto") -> Reading:
    """Who handed in what. ``form``: one of ``FORMATS``, or "" to find out; ``times``: "entries"
    takes every file's time for the time of handing in, "none" takes none, "auto" takes them
    unless they are those of packing. Raises CourseError where no format fits."""
    name = form or _detect(source)
    by_key: dict[str, HandIn] = {}
    reading = Reading(
        name, as_of=max((m.modified for m in source.members if m.modified), default=None)
    )
    for hand_in in FORMATS[name](source, reading.stray):
        known = by_key.setdefault(hand_in.key, hand_in)
        if known is not hand_in:
            known.add(hand_in)
    reading.hand_ins = sorted(by_key.values(), key=lambda h: h.key)
    if not reading.hand_ins:
        raise CourseError(f"nothing in it is named as in a download from {name.capitalize()}")
    _settle_times(reading.hand_ins, times, own=name == "gradescope")
    return reading


def _detect(source: Source) -> str:
    if any(m.parts[-1] == "submission_metadata.yml" for m in source.members):
        return "gradescope"
    count = {name: len([h for h in FORMATS[name](source, []) if h.notebooks]) for name in FORMATS}
    best = max(count, key=lambda name: count[name])
    if not count[best]:
        raise CourseError(
            "no notebook in it is named as Canvas, Moodle or Gradescope would: say with --format "
            f"({', '.join(FORMATS)}) whose download it is, and name its own folder or zip file"
        )
    return best


def _canvas(source: Source, stray: list[str]) -> list[HandIn]:
    found = []
    for member in source.members:
        match = _CANVAS_ANONYMOUS.fullmatch(member.parts[-1]) or _CANVAS.fullmatch(member.parts[-1])
        if match is None:
            if member.is_notebook:
                stray.append(member.name)
            continue
        part = match.groupdict()
        hand_in = HandIn(
            key=part["user"],
            shown=part["name"] or part["user"],
            ids=[part["user"], part["name"] or ""],
            late=bool(part["late"]),
        )
        if member.is_notebook:
            again = _AGAIN.fullmatch(part["file"])  # not of a file that is named .ipynb only
            name, count = (f"{again['base']}.ipynb", again["count"]) if again else (".ipynb", 0)
            attempt = (int(part["attempt"]), int(count or 0))
            hand_in.notebooks.append(Notebook(member, name, attempt, member.modified))
        else:
            hand_in.others.append(part["file"] or f"a {part['kind']}")
        found.append(hand_in)
    return found


def _moodle(source: Source, stray: list[str]) -> list[HandIn]:
    found = []
    for member in source.members:
        matches = [(i, m) for i, part in enumerate(member.parts) if (m := _MOODLE.fullmatch(part))]
        if not matches:
            if member.is_notebook:
                stray.append(member.name)
            continue
        place, match = matches[0]
        # the number counts participants of one assignment only: a student is known by the name
        name, number = match["name"].strip(), match["user"]
        anonymous = name.casefold() == "participant"
        hand_in = HandIn(
            key=f"{name} {number}",
            shown=name,
            ids=[number, f"{name}_{number}", name],
            own_id=f"{name}-{number}" if anonymous else name,
        )
        file = "/".join(member.parts[place + 1 :]) or match["file"] or ""
        if member.is_notebook and file:
            hand_in.notebooks.append(Notebook(member, file, (), member.modified))
        else:
            text = "onlinetext" in (match["kind"], match["old"])
            hand_in.others.append("a text" if text else file)
        found.append(hand_in)
    return found


FORMATS: dict[str, Callable[[Source, list[str]], list[HandIn]]] = {
    "canvas": _canvas,
    "moodle": _moodle,
    "gradescope": read_gradescope,
}


def _settle_times(hand_ins: list[HandIn], times: str, own: bool) -> None:
    """Forget the times that are not those of handing in; ``own``: the platform has said them."""
    notebooks = [n for h in hand_ins for n in h.notebooks]
    known = [n.when for n in notebooks if n.when]
    packed = not own and (not known or max(known) - min(known) <= PACKING)
    if times == "none" or (times == "auto" and packed):
        for notebook in notebooks:
            notebook.when = None
