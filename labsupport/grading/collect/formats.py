"""Formats of downloads: who handed in what, by the names that Canvas, Moodle, Gradescope give."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field

from labsupport.errors import CourseError
from labsupport.grading.collect.archive import Source
from labsupport.grading.collect.canvas import read_canvas
from labsupport.grading.collect.gradescope import read_gradescope
from labsupport.grading.collect.handin import HandIn, Stray
from labsupport.grading.collect.moodle import read_moodle

# A platform stamps the files of a download with the time of packing; times further apart than
# this are the files' own.
PACKING = datetime.timedelta(hours=1)


@dataclass
class Reading:
    """A source understood. ``stray``: files of which it is not known whose they are."""

    format: str
    hand_ins: list[HandIn] = field(default_factory=list)
    stray: list[Stray] = field(default_factory=list)
    as_of: datetime.datetime | None = None  # when it was downloaded, as far as known


def read_source(
    source: Source,
    form: str = "",
    times: str = "auto",
    is_lab: Callable[[str], bool] = lambda name: False,
) -> Reading:
    """Who handed in what. ``form``: one of ``FORMATS``, or "" to find out; ``times``: "entries"
    takes every file's time for the time of handing in, "none" takes none, "auto" takes them
    unless they are those of packing; ``is_lab``: whether a file is named like a lab. Raises
    CourseError where no format fits."""
    name = form or _detect(source, is_lab)
    by_key: dict[str, HandIn] = {}
    reading = Reading(
        name, as_of=max((m.modified for m in source.members if m.modified), default=None)
    )
    for hand_in in _read(name, source, reading.stray, is_lab):
        known = by_key.setdefault(hand_in.key, hand_in)
        if known is not hand_in:
            known.add(hand_in)
    reading.hand_ins = sorted(by_key.values(), key=lambda h: h.key)
    if not reading.hand_ins and not any(stray.doubtful for stray in reading.stray):
        raise CourseError(f"nothing in it is named as in a download from {name.capitalize()}")
    _settle_times(reading.hand_ins, times, own=name == "gradescope")
    return reading


def _detect(source: Source, is_lab: Callable[[str], bool]) -> str:
    if any(m.parts[-1] == "submission_metadata.yml" for m in source.members):
        return "gradescope"
    count = {name: _understood(name, source, is_lab) for name in FORMATS}
    best = max(count, key=lambda name: count[name])
    if not count[best]:
        raise CourseError(
            "no notebook in it is named as Canvas, Moodle or Gradescope would: say with --format "
            f"({', '.join(FORMATS)}) whose download it is, and name its own folder or zip file"
        )
    return best


def _understood(name: str, source: Source, is_lab) -> int:
    stray: list[Stray] = []
    found = [h for h in _read(name, source, stray, is_lab) if h.notebooks]
    return len(found) + sum(s.doubtful for s in stray)


FORMATS = ("canvas", "moodle", "gradescope")


def _read(name: str, source: Source, stray: list[Stray], is_lab) -> list[HandIn]:
    if name == "canvas":
        return read_canvas(source, stray, is_lab)
    return (read_moodle if name == "moodle" else read_gradescope)(source, stray)


def _settle_times(hand_ins: list[HandIn], times: str, own: bool) -> None:
    """Forget the times that are not those of handing in; ``own``: the platform has said them."""
    notebooks = [n for h in hand_ins for n in h.notebooks]
    known = [n.when for n in notebooks if n.when]
    packed = not own and (not known or max(known) - min(known) <= PACKING)
    if times == "none" or (times == "auto" and packed):
        for notebook in notebooks:
            notebook.when = None
