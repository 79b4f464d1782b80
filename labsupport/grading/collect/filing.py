"""Filing of a collected notebook under ``submitted/``; what was there before is kept, never lost.

DIR/submitted/STUDENT/LAB/LAB.ipynb, timestamp.txt, submission_secret.txt   nbgrader's
DIR/submitted/STUDENT/LAB/late.txt    the platform's word that it is late
DIR/earlier/STUDENT/LAB.1/ ...                        what has been replaced
DIR/.labs/collected/STUDENT/LAB.json                  which upload and download it came from
"""

import contextlib
import datetime
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from dateutil import parser as dates

from labsupport.files import write_whole
from labsupport.grading.collect.ids import same
from labsupport.grading.ledger.standing import LATE_FILE

SECRET = "submission_secret.txt"  # nbgrader's: it names a student's released feedback page
UTC = datetime.timezone.utc


@dataclass
class Origin:
    """Where a notebook came from. ``as_of``: when the download was made; ``file``: the notebook's
    name in it, by which the platform takes feedback back."""

    format: str = ""
    attempt: list | None = None
    when: str | None = None
    as_of: str | None = None
    file: str = ""
    user: str = ""  # the platform's name for whoever handed it in
    late: bool | None = None  # by the platform's word; None: not asked for yet


def put(
    folder: Path,
    student: str,
    stem: str,
    data: bytes,
    origin: Origin,
    force: bool = False,
    secret: str = "",
) -> tuple[str, str]:
    """File one notebook and return (outcome, note).

    ``secret`` is kept for nbgrader's ``release_feedback`` where there is none yet.

    Outcomes: "filed", "replaced" (it is newer, or ``force``), "unchanged", "not filed". A file is
    there whole or not at all.
    """
    place = folder / "submitted" / student / stem
    clash = _same_but_for_case(folder / "submitted", student)
    if clash:
        return "not filed", f"there is a student {clash!r} already: map one of the two"
    record = folder / ".labs" / "collected" / student / f"{stem}.json"
    if not os.path.lexists(place):
        _write(folder, place, record, data, origin, secret)
        return "filed", ""
    if place.is_symlink() or not place.is_dir():
        return "not filed", f"{place} is in the way: it is no folder"
    earlier = _known(record, place)
    newer = is_newer(origin, earlier)
    if _bytes(place / f"{stem}.ipynb") == data:
        more = earlier.late is None or bool(origin.late and not earlier.late)
        if more:
            _complete(place, origin, secret)
        # the same again under another name, or more is known of it now
        if newer or more or (origin.file and not earlier.file):
            write_whole(record, json.dumps(asdict(origin)).encode())
        return "unchanged", ""
    if not force and not newer:
        known = "an older one than" if newer is False else "not known to be newer than"
        return "not filed", f"{known} the one under {place}: --force files it"
    kept_secret = _bytes(place / SECRET)
    secret = kept_secret.decode("utf-8", "replace") if kept_secret else secret
    kept = _next_free(folder / "earlier" / student, stem)
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.rename(place, kept)
    _write(folder, place, record, data, origin, secret)
    return "replaced", f"the earlier one is kept in {kept.relative_to(folder)}"


def is_newer(new: Origin, old: Origin) -> bool | None:
    """Whether one upload is newer than the other; None where nothing tells."""
    if new.format == old.format and new.attempt and old.attempt and new.attempt != old.attempt:
        return new.attempt > old.attempt
    for ours, theirs in ((new.when, old.when), (new.as_of, old.as_of)):
        if ours and theirs and _moment(ours) != _moment(theirs):
            return _moment(ours) > _moment(theirs)
    return None


def timestamp(when: datetime.datetime) -> str:
    """A time as nbgrader writes it into timestamp.txt."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _write(
    folder: Path, place: Path, record: Path, data: bytes, origin: Origin, secret: str
) -> None:
    incoming = Path(tempfile.mkdtemp(dir=folder / ".labs", prefix="incoming-"))
    try:
        os.chmod(incoming, 0o755)
        write_whole(incoming / f"{place.name}.ipynb", data)
        # nbgrader's release_feedback wants one; an empty one is a time that is not known
        when = timestamp(_moment(origin.when)) if origin.when else ""
        write_whole(incoming / "timestamp.txt", when.encode())
        for name, text in _beside(origin, secret).items():
            write_whole(incoming / name, text.encode())
        place.parent.mkdir(parents=True, exist_ok=True)
        os.rename(incoming, place)
        write_whole(record, json.dumps(asdict(origin)).encode())
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _beside(origin: Origin, secret: str) -> dict[str, str]:
    late = f"late, says {origin.format.capitalize()}\n"
    files = {SECRET: secret, LATE_FILE: late if origin.late else ""}
    return {name: text for name, text in files.items() if text}


def _complete(place: Path, origin: Origin, secret: str) -> None:
    """What an earlier collection did not keep of the very same file. It is done once: what an
    instructor has removed since does not come back."""
    for name, text in ({"timestamp.txt": ""} | _beside(origin, secret)).items():
        if not (place / name).exists():
            write_whole(place / name, text.encode())


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _known(record: Path, place: Path) -> Origin:
    """What is known of the notebook that is there, which may have been put there by hand."""
    origin = Origin()
    with contextlib.suppress(OSError, ValueError, TypeError):
        origin = Origin(**json.loads(record.read_text(encoding="utf-8")))
    with contextlib.suppress(OSError, ValueError):
        origin.when = (place / "timestamp.txt").read_text(encoding="utf-8").strip() or None
    return origin


def _moment(text: str) -> datetime.datetime:
    moment = dates.parse(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _next_free(place: Path, stem: str) -> Path:
    number = 1
    while os.path.lexists(place / f"{stem}.{number}"):
        number += 1
    return place / f"{stem}.{number}"


def _same_but_for_case(submitted: Path, student: str) -> str:
    """A student's folder that a file system may take for this one, or ""."""
    names = os.listdir(submitted) if submitted.is_dir() else []
    if student in names:
        return ""
    return next((name for name in names if same(name) == same(student)), "")
