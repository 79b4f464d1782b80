"""Feedback pages in the zip file that a platform takes them in.

Canvas  "Upload Submissions" takes back what "Download Submissions" gave: it reads the user's and
        the upload's number out of each name (``doejane_4711_90210_lab-1.ipynb``) and attaches the
        file to that student's comments. So the names are the download's own, which ``labs
        collect`` has kept, with .html at the end; Canvas shows the attachment under the name of
        the student's own upload.
Moodle  "Upload multiple feedback files in a zip" takes a folder a person, named as in its own
        download: ``Jane Doe_12345_assignsubmission_file_/lab.html``.

Only a page that is current is packed, and only beside a grade that was written.
"""

import io
import json
import re
import zipfile
from pathlib import Path, PurePosixPath

from nbgrader.apps.api import NbGraderAPI

from labsupport.files import write_whole
from labsupport.grading.ledger.pages import page_is_current, page_path

_CANVAS = re.compile(r"(?:.*?_)?(?:LATE_)?(?P<user>[0-9]+)_(?P<upload>[0-9]+)_.+")
_MOODLE = re.compile(r"[^_]+_(?P<user>\d+)_assignsubmission_.*")
_STAMP = (2000, 1, 1, 0, 0, 0)  # the same pages make the same file


def page_of(api: NbGraderAPI, lab: str, student: str) -> tuple[Path | None, str]:
    """A student's feedback page in a lab; None and the reason where there is none to give."""
    path = page_path(Path(api.coursedir.root), lab, student)
    if path.is_symlink() or not path.is_file():
        return None, "there is no feedback page: run 'labs grade'"
    if not page_is_current(api, lab, student):
        return None, "the feedback page is older than the grade: run 'labs grade', then export"
    return path, ""


def download_name(folder: Path, lab: str, student: str) -> str:
    """What the notebook was called in the download that it was collected from, "" if not known."""
    return str(_origin(folder / ".labs" / "collected" / student / f"{lab}.json").get("file") or "")


def platforms(folder: Path, student: str) -> set[str]:
    """The platforms from which a student's work was collected."""
    records = (folder / ".labs" / "collected" / student).glob("*.json")
    return {str(name) for record in records if (name := _origin(record).get("format"))}


def _origin(record: Path) -> dict:
    try:
        about = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def canvas_name(name: str, user: str) -> str:
    """The name under which Canvas takes a page back, "" where it would not be this user's: a
    group's upload, say, has the number of whoever sent it."""
    file = PurePosixPath(name).name
    found = _CANVAS.fullmatch(file)
    if not found or found["user"] != user:
        return ""
    return f"{file.removesuffix('.ipynb')}.html"


def participant(name: str) -> str:
    """Moodle's number of whoever handed in a file of a download, "" where its name has none."""
    parts = [m for part in PurePosixPath(name).parts if (m := _MOODLE.fullmatch(part))]
    return parts[0]["user"] if parts else ""


def pack(path: Path, pages: dict[str, Path]) -> None:
    """Write a zip file of pages by the names they have in it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, page in sorted(pages.items()):
            about = zipfile.ZipInfo(name, _STAMP)
            about.compress_type = zipfile.ZIP_DEFLATED
            about.external_attr = 0o644 << 16
            archive.writestr(about, page.read_bytes())
    write_whole(path, packed.getvalue())
