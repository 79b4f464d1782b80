"""Collection of a download into a course: read it, settle who is who, file what can be filed."""

import datetime
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from labsupport.answers.text import one_line
from labsupport.course.source import find_labs, read_lab
from labsupport.errors import CourseError
from labsupport.grading.collect.archive import ArchiveLimits, open_source
from labsupport.grading.collect.choose import Choice, choose, lab_named
from labsupport.grading.collect.filing import Origin, put, timestamp
from labsupport.grading.collect.formats import Reading, read_source
from labsupport.grading.collect.handin import HandIn
from labsupport.grading.collect.ids import read_map, safe_id, same
from labsupport.grading.collect.people import remember
from labsupport.grading.ledger.course_directory import load_config
from labsupport.grading.ledger.store import only_run


@dataclass
class Line:
    """One line of the table. ``outcome`` as ``filing.put`` gives it."""

    shown: str
    student: str = ""
    lab: str = ""
    file: str = ""
    when: str = ""
    outcome: str = "not filed"
    note: str = ""

    @property
    def good(self) -> bool:
        return self.outcome != "not filed"


@dataclass
class Collected:
    """What became of a source. ``missing``: ids of the map that handed nothing in."""

    format: str
    lines: list[Line] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return all(line.good for line in self.lines) and not self.refused

    def count(self, outcome: str) -> int:
        return sum(line.outcome == outcome for line in self.lines)


def time_zone(name: str) -> datetime.tzinfo | None:
    """A time zone by its name; None for "". Raises CourseError for a name that there is not."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CourseError(f"no time zone {name!r}: name one as in Europe/Lisbon or UTC") from None


def collect(
    folder: Path,
    path: Path,
    lab: str = "",
    *,
    form: str = "",
    map_file: Path | None = None,
    times: str = "auto",
    zone=None,
    force: bool = False,
    limits: ArchiveLimits | None = None,
) -> Collected:
    """File a folder's or zip file's submissions under ``folder/submitted``.

    ``lab``: a lab by number or name; "": whatever each notebook says it is. ``form`` and
    ``times`` as in ``read_source``, ``zone`` as in ``open_source``. Raises CourseError where the
    source or the map cannot be used at all; one submission that cannot be filed costs no other.
    """
    folder = folder.resolve()
    config = load_config(folder)  # is it a course at all?
    labs = {p.stem: read_lab(p).number for p in find_labs(folder / "labs")}
    wanted = find_labs(folder / "labs", [lab])[0].stem if lab else ""
    names = read_map(map_file) if map_file else None
    with open_source(path, zone, limits) as source, only_run(folder):
        reading = read_source(source, form, times, lambda name: bool(lab_named(name, labs)))
        result = Collected(reading.format, refused=source.refused)
        result.lines += [
            Line("-", file=one_line(stray.name, 120), note=one_line(stray.why, 200))
            for stray in reading.stray
        ]
        students = [
            (hand_in, who) for hand_in in reading.hand_ins for who in _students(hand_in, names)
        ]
        clashes = _clashes(students)
        seed = str(config.ExecuteAndJudge.get("seed") or "")
        people: dict[str, dict[str, str]] = {}
        for hand_in, student in students:
            lines = _file(folder, hand_in, student, clashes, labs, wanted, reading, force, seed)
            result.lines += lines
            alone = sum(h is hand_in for h, _ in students) == 1  # and not one of a group's members
            if alone and any(line.good for line in lines):
                people[student] = hand_in.person
        remember(folder, people)
        if names is not None:
            present = {same(i) for h in reading.hand_ins for i in h.ids}
            result.missing = sorted(
                {s for key, ours in names.items() if key not in present for s in ours}
            )
    return result


def _students(hand_in: HandIn, names: dict[str, list[str]] | None) -> list[str]:
    """The course's ids of whoever handed this in; [""] where nobody can be found."""
    if hand_in.problem:
        return [""]
    if names is None:
        hand_in.problem = hand_in.unless_mapped
        return [safe_id(hand_in.own_id)] if not hand_in.problem else [""]
    found = {i: sorted(set(names[same(i)])) for i in hand_in.ids if i and same(i) in names}
    if len({tuple(ours) for ours in found.values()}) > 1:
        said = ", ".join(f"{theirs} is {' and '.join(ours)}" for theirs, ours in found.items())
        hand_in.problem = f"the map gives two answers: {said}"
        return [""]
    for ours in found.values():
        return [safe_id(one) for one in ours]
    hand_in.problem = f"no line of the map has {' or '.join(i for i in hand_in.ids if i)}"
    return [""]


def _clashes(students: Iterable[tuple[HandIn, str]]) -> dict[str, list[str]]:
    """Ids that more than one of the platform's students would get, and who these are."""
    found: dict[str, set] = {}
    for hand_in, student in students:
        if student:
            found.setdefault(same(student), set()).add((hand_in.key, hand_in.shown))
    return {
        student: sorted(key for key, _ in who) for student, who in found.items() if len(who) > 1
    }


def _file(
    folder, hand_in, student, clashes, labs, wanted, reading: Reading, force, seed
) -> list[Line]:
    line = Line(one_line(hand_in.shown, 60), student, wanted)
    line.file = one_line(", ".join(n.member.name for n in hand_in.notebooks), 120)
    clash = clashes.get(same(student)) if student else None
    if not hand_in.problem and not student:
        hand_in.problem = "no usable student id can be made of it: give one with --map"
    if hand_in.problem:
        line.note = one_line(hand_in.problem, 200)
        return [line]
    if clash:
        line.note = one_line(
            f"{len(clash)} students would get this id ({', '.join(clash)}): tell "
            "them apart with --map",
            200,
        )
        return [line]
    return [
        _file_choice(folder, line, hand_in, choice, reading, force, seed)
        for choice in choose(hand_in, labs, wanted)
    ]


def _file_choice(folder, line, hand_in, choice: Choice, reading: Reading, force, seed) -> Line:
    done = Line(line.shown, line.student, choice.stem, line.file)
    if choice.notebook is None:
        done.note = choice.why
        return done
    notebook = choice.notebook
    origin = Origin(
        reading.format,
        list(notebook.attempt) or None,
        notebook.when.isoformat() if notebook.when else None,
        reading.as_of.isoformat() if reading.as_of else None,
        notebook.member.name,
        hand_in.ids[0],
        hand_in.late,
    )
    secret = hashlib.sha512(f"{seed}/feedback/{line.student}/{choice.stem}".encode()).hexdigest()
    done.file = one_line(notebook.member.name, 120)
    late = "late, " if hand_in.late and not notebook.when else ""
    done.when = timestamp(notebook.when) if notebook.when else f"{late}time unknown"
    try:
        done.outcome, done.note = put(
            folder, line.student, choice.stem, choice.data, origin, force, secret if seed else ""
        )
    except OSError as error:
        done.note = f"it cannot be written: {error.strerror} ({error.filename})"
    older = Counter(n.name for n in hand_in.notebooks)[notebook.name] - 1
    if older and done.outcome in ("filed", "replaced"):
        again = f"the newest of {older + 1}"
        done.note = f"{again}; {done.note}" if done.note else again
    return done
