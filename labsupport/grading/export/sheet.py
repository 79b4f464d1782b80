"""A platform's CSV file, read, filled in, and written in the form in which it came.

A byte order mark, semicolons, decimal commas, line ends: what the platform wrote it expects back.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import CourseError
from labsupport.files import write_whole

_DELIMITERS = (",", ";", "\t")
_DECIMAL_COMMA, _DECIMAL_POINT = re.compile(r"-?\d+,\d{1,5}"), re.compile(r"-?\d+\.\d{1,5}")
_THOUSANDS = re.compile(r",(?=\d{3}\b)")
DIGITS = 4  # after the point; platforms show two


@dataclass
class Sheet:
    """Rows of cells below a header; every row is as long as the header."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    delimiter: str = ","
    newline: str = "\n"
    encoding: str = "utf-8"
    comma: bool = False  # decimals are written with one

    def column(self, name: str) -> int | None:
        """Where a column is, by its heading in any case; None where there is none."""
        wanted = plain(name)
        return next((i for i, title in enumerate(self.header) if plain(title) == wanted), None)

    def number(self, value: float) -> str:
        """A number as this file has numbers."""
        return decimal(value).replace(".", ",") if self.comma else decimal(value)

    def value(self, text: str) -> float | None:
        """The number in a cell; None for what is none."""
        text = text.strip()
        if self.comma:
            text = text.replace(".", "").replace(",", ".")
        try:
            return float(_THOUSANDS.sub("", text))
        except ValueError:
            return None

    def write(self, path: Path) -> None:
        """Write it whole or not at all. Raises CourseError rather than over what was read."""
        if path.exists() and path.samefile(self.path):
            raise CourseError(f"{path} is the file that was read: name another folder with --out")
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator=self.newline)
        writer.writerows([self.header, *self.rows])
        write_whole(path, text.getvalue().encode(self.encoding))


def read_sheet(path: Path) -> Sheet:
    """Raises CourseError, one line, where a file is no table that can be given back as it came."""
    text, encoding = _text(path)
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=lambda d: len(next(csv.reader([first], delimiter=d), [])))
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise CourseError(f"{path} is no table in CSV: {error}; export it again") from None
    lines = [line for line in lines if any(cell.strip() for cell in line)]
    if not lines or len(lines[0]) < 2:
        raise CourseError(f"{path} is no table in CSV: its first line names no columns")
    header, rows = lines[0], lines[1:]
    for number, row in enumerate(rows, start=2):
        if len(row) > len(header):
            raise CourseError(
                f"{path}: row {number} has {len(row)} cells under {len(header)} headings, so it "
                "cannot be told which is which; export it again"
            )
        row += [""] * (len(header) - len(row))
    cells = [cell.strip() for row in rows for cell in row]
    comma = any(map(_DECIMAL_COMMA.fullmatch, cells)) and not any(
        map(_DECIMAL_POINT.fullmatch, cells)
    )
    newline = "\r\n" if "\r\n" in text else "\n"
    return Sheet(path, header, rows, delimiter, newline, encoding, comma)


def decimal(value: float) -> str:
    """A number with at most four decimals, and none that say nothing."""
    return f"{round(value, DIGITS) + 0:.{DIGITS}f}".rstrip("0").rstrip(".")


def plain(text: str) -> str:
    """A heading without case and without more than one space between words."""
    return " ".join(text.split()).casefold()


def _text(path: Path) -> tuple[str, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}") from None
    encoding = "utf-8"
    if data.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    elif data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError:
        raise CourseError(
            f"{path} is not in UTF-8: a spreadsheet has saved it in another form; export it again, "
            "or save it as 'CSV UTF-8'"
        ) from None
