"""What ``labs audit`` does: audit the chosen labs, show, and write the files asked for."""

import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from tqdm.auto import tqdm

from labsupport.course.source import find_labs
from labsupport.errors import CourseError
from labsupport.grading.audit.picture import check_suffix, save_picture
from labsupport.grading.audit.report import show
from labsupport.grading.audit.run import audit_lab
from labsupport.grading.ledger.settings import is_course


def in_course(words: list[str] | None) -> tuple[Path | None, list[str] | None]:
    """(the labs' folder, which labs) where the first of a command's words is a course directory,
    else (None, the words). Raises CourseError for a folder that is none.
    """
    first = Path(words[0]) if words else None
    if words is None or first is None or not first.is_dir():
        return None, words
    if not is_course(first):
        raise CourseError(
            f"{first} is no course directory: name one, or labs of the checkout (labs audit 01)"
        )
    return first / "labs", words[1:] or None


def run_audits(
    console: Console,
    solutions: Path,
    labs: list[str] | None,
    json_file: Path | None,
    picture: Path | None,
    fast: bool,
    workers: int | None,
) -> bool:
    """Audit labs and report. True where all are good (see ``LabAudit.good``).

    Raises ValueError or FileNotFoundError, before any work, for what cannot be done.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    for path in (json_file, picture):
        if path is not None and not path.resolve().parent.is_dir():
            raise FileNotFoundError(f"{path.parent} is no folder: make it first")
    if picture is not None:
        check_suffix(picture)
    audits = []
    for source in find_labs(solutions, labs):
        audit = audit_lab(source, fast, workers, progress=_progress(source.stem))
        show(console, audit)
        audits.append(audit)
    if json_file is not None:
        json_file.write_text(json.dumps([a.as_dict() for a in audits], indent=1) + "\n")
    if picture is not None:
        save_picture(audits, picture)
    return all(audit.good for audit in audits)


def _progress(lab: str):
    def bar(items: Iterable, total: int) -> Iterable:
        return tqdm(items, total=total, desc=lab, unit="answer")

    return bar
