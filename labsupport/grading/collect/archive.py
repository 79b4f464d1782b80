"""Contents of a folder or a zip file, read without unpacking it and without trusting it.

Nothing is ever written to a path that an archive names. A name that tries to lead elsewhere, a
link, a device, an encrypted or an oversized entry is refused, and said so in one line.
"""

import datetime
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from labsupport.answers.text import one_line
from labsupport.errors import CourseError, LabError

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack without a bound on memory
NOISE = ("__MACOSX", ".ipynb_checkpoints", ".DS_Store", "Thumbs.db", "desktop.ini")
CHUNK = 1 << 16


@dataclass(frozen=True)
class ArchiveLimits:
    """The most that is taken from one source. Sizes are in bytes, unpacked."""

    entries: int = 20_000
    directory: int = 16 << 20  # of a zip file's list of entries
    entry: int = 50 << 20
    total: int = 4 << 30
    ratio: int = 200  # unpacked to packed, of an entry above a megabyte


class Refused(LabError):
    """Why an entry is not read, in one line."""


@dataclass
class Member:
    """A file of a source. ``parts`` is its name, split at slashes; ``modified`` has a zone."""

    parts: tuple[str, ...]
    modified: datetime.datetime | None
    read: Callable[[], bytes]  # raises Refused

    @property
    def name(self) -> str:
        return "/".join(self.parts)

    @property
    def is_notebook(self) -> bool:
        return self.parts[-1].lower().endswith(".ipynb")


@dataclass
class Source:
    """The readable files of a folder or zip, and (name, reason) of what is refused."""

    members: list[Member] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def open_source(
    path: Path, zone: datetime.tzinfo | None = None, limits: ArchiveLimits | None = None
) -> Iterator[Source]:
    """Open a folder or a zip file. ``zone`` is that of a zip's times; None: this machine's.

    Raises CourseError for what is neither, and for an archive beyond the limits.
    """
    limits = limits or ArchiveLimits()
    if path.is_dir():
        yield _folder(path, limits)
        return
    if not path.exists():
        raise CourseError(f"{path} does not exist")
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(_Bounded(file, limits.directory))
        except Refused as error:
            raise CourseError(f"{path}: {error}") from None
        except Exception:  # zipfile raises whatever a malformed list of entries provokes
            raise CourseError(
                f"{path} is neither a folder nor a readable zip file: download it again"
            ) from None
        with archive:
            yield _zip(path, archive, zone, limits)


class _Bounded:
    """A file that refuses to be read in large pieces: zipfile reads all of an archive's list of
    entries at once, however long it is."""

    def __init__(self, file, most: int):
        self._file, self._most = file, most

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._most + 1 if size < 0 else min(size, self._most + 1))
        if len(data) > self._most:
            raise Refused("the zip file's list of entries is too long to be a class's")
        return data

    def __getattr__(self, name: str):
        return getattr(self._file, name)


class _Budget:
    """Bytes that may still be unpacked, of one source."""

    def __init__(self, left: int):
        self.left = left

    def take(self, chunks: Iterable[bytes], most: int) -> bytes:
        taken = bytearray()
        for chunk in chunks:
            taken += chunk
            self.left -= len(chunk)
            if len(taken) > most:
                raise Refused(f"it is larger than {most >> 20} MB")
            if self.left < 0:
                raise Refused("the files together are larger than one source may be")
        return bytes(taken)


def _zip(path: Path, archive: zipfile.ZipFile, zone, limits: ArchiveLimits) -> Source:
    entries = [e for e in archive.infolist() if not e.is_dir()]
    if len(entries) > limits.entries:
        raise CourseError(f"{path} has {len(entries):,} files: at most {limits.entries:,} are read")
    source, budget = Source(), _Budget(limits.total)
    seen: dict[tuple[str, ...], list[Member]] = {}
    for entry in entries:
        name = _decoded(entry)
        try:
            parts = safe_parts(name)
            if _is_noise(parts):
                continue
            _check(entry, limits)
        except Refused as error:
            source.refused.append((one_line(name, 120), str(error)))
            continue
        member = Member(parts, _time(entry, zone), _entry_reader(archive, entry, budget, limits))
        seen.setdefault(parts, []).append(member)
    for parts, members in seen.items():
        if len(members) == 1:
            source.members += members
        else:
            source.refused.append(
                (
                    one_line("/".join(parts), 120),
                    f"the archive has {len(members)} files of this name",
                )
            )
    return source


def _decoded(entry: zipfile.ZipInfo) -> str:
    # macOS writes UTF-8 without saying so
    if entry.flag_bits & 0x800:
        return entry.orig_filename
    try:
        return entry.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.orig_filename


def safe_parts(name: str) -> tuple[str, ...]:
    """A name split at slashes, normalised (NFC). Raises Refused where it could lead elsewhere."""
    if not name.isprintable():
        raise Refused("its name has characters that do not print")
    parts = unicodedata.normalize("NFC", name.replace("\\", "/")).split("/")
    if parts[0] == "" or (len(parts[0]) == 2 and parts[0][1] == ":"):
        raise Refused("its name is an absolute path")
    if ".." in parts:
        raise Refused("its name leads out of the folder")
    parts = [part for part in parts if part not in ("", ".")]
    if not parts or len(parts) > 30 or len(name) > 1000:
        raise Refused("its name is empty, or too long")
    return tuple(parts)


def _is_noise(parts: tuple[str, ...]) -> bool:
    return any(part in NOISE for part in parts) or parts[-1].startswith("._")


def _check(entry: zipfile.ZipInfo, limits: ArchiveLimits) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise Refused("it is a link" if kind == stat.S_IFLNK else "it is no ordinary file")
    if entry.flag_bits & 0x1:
        raise Refused("it is encrypted")
    if entry.compress_type not in METHODS:
        raise Refused("it is packed by a method that learning platforms do not use")
    if entry.file_size > limits.entry:
        raise Refused(f"it is larger than {limits.entry >> 20} MB")
    if entry.file_size > max(1 << 20, limits.ratio * entry.compress_size):
        raise Refused(f"it unpacks to more than {limits.ratio} times its size")


def _entry_reader(archive, entry, budget: _Budget, limits: ArchiveLimits) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with archive.open(entry) as file:
                return budget.take(iter(lambda: file.read(CHUNK), b""), limits.entry)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            RuntimeError,
            NotImplementedError,
            ValueError,
            OSError,
            struct.error,
        ):
            raise Refused("it is damaged in the archive") from None

    return read


def _time(entry: zipfile.ZipInfo, zone: datetime.tzinfo | None) -> datetime.datetime | None:
    """An entry's time: in UTC where the archive says it so, else the zip's own, by the clock of
    ``zone`` (the format has no zone)."""
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == 0x5455 and size >= 5 and len(extra) >= 9 and extra[4] & 1:
            seconds = struct.unpack("<i", extra[5:9])[0]
            return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
        extra = extra[4 + size :]
    try:
        moment = datetime.datetime(*entry.date_time)
        if moment.year == 1980:
            return None  # how a zip says that it does not know
        return moment.replace(tzinfo=zone) if zone else moment.astimezone()
    except (ValueError, OverflowError):
        return None


def _folder(path: Path, limits: ArchiveLimits) -> Source:
    source, budget = Source(), _Budget(limits.total)
    count = 0
    for place, folders, files in os.walk(path):
        folders.sort()
        for name in sorted([*files, *(f for f in folders if (Path(place) / f).is_symlink())]):
            count += 1
            if count > limits.entries:
                raise CourseError(
                    f"{path} has more than {limits.entries:,} files: name the "
                    "folder of one download"
                )
            full = Path(place) / name
            shown = full.relative_to(path).as_posix()
            try:
                about = full.lstat()
                parts = safe_parts(shown)
                if _is_noise(parts):
                    continue
                if not stat.S_ISREG(about.st_mode):
                    link = stat.S_ISLNK(about.st_mode)
                    raise Refused("it is a link" if link else "it is no ordinary file")
                if about.st_size > limits.entry:
                    raise Refused(f"it is larger than {limits.entry >> 20} MB")
            except (Refused, OSError) as error:
                source.refused.append((one_line(shown, 120), one_line(error, 120)))
                continue
            moment = datetime.datetime.fromtimestamp(about.st_mtime, datetime.timezone.utc)
            source.members.append(Member(parts, moment, _file_reader(full, budget, limits)))
    return source


def _file_reader(path: Path, budget: _Budget, limits: ArchiveLimits) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            # it may have become something else since it was looked at
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                return budget.take(iter(lambda: file.read(CHUNK), b""), limits.entry)
        except OSError as error:
            raise Refused(f"it cannot be read: {error.strerror}") from None

    return read
