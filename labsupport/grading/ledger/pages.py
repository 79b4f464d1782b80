"""Which feedback pages are current: one is made again only where something on it has changed.

DIR/.labs/pages/LAB/STUDENT   a hash of all that the page was made of

What is asked for is worked out before the page is made: what changes meanwhile (a person grades in
formgrader) leaves the older hash, and the next run makes the page again.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import secrets
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps.api import NbGraderAPI
from traitlets.config import Config

from labsupport.grading.ledger.course_directory import last_error
from labsupport.grading.ledger.exemptions import exempt_cells

_MAKERS = (
    "feedback.py",
    "formulas.py",
    "rendering.py",
    "templates/labs_feedback",
)  # what a page looks like
_SECTIONS = ("FeedbackExporter", "GenerateFeedback", "HTMLExporter", "TemplateExporter")
_RELEASED = ("timestamp.txt", "submission_secret.txt")  # an empty time is none, to nbgrader too
_PACKAGES = ("nbgrader", "nbconvert", "latex2mathml", "mistune")


def page_path(folder: Path, assignment: str, student: str) -> Path:
    return folder / "feedback" / student / assignment / f"{assignment}.html"


def page_key(folder: Path, gradebook: Gradebook, config: Config, pair: tuple[str, str]) -> str:
    """A hash of all that is on a feedback page, "" where there is nothing to make one of.

    ``pair``: (assignment, student); ``config``: nbgrader's settings of the course.
    """
    assignment, student = pair
    notebook = folder / "autograded" / student / assignment / f"{assignment}.ipynb"
    try:
        graded = notebook.read_bytes()
        submission = gradebook.find_submission(assignment, student)
    except (OSError, MissingEntry):
        return ""
    known = [
        [
            [float(n.late_submission_penalty or 0)],
            sorted(
                [g.name, str(g.score), str(g.max_score), g.needs_manual_grade] for g in n.grades
            ),
            sorted([c.name, str(c.comment)] for c in n.comments),
        ]
        for n in submission.notebooks
    ]
    late = str(submission.total_seconds_late if submission.assignment.duedate else 0)
    exempt = sorted(exempt_cells(folder).get((assignment, student), ()))
    text = json.dumps([known, late, exempt, _maker(), _settings(config)])
    return hashlib.sha256(text.encode() + graded).hexdigest()


def page_is_current(api: NbGraderAPI, assignment: str, student: str) -> bool:
    """Whether the page is there and was made of what there is now."""
    folder, made_of = Path(api.coursedir.root), ""
    with contextlib.suppress(OSError):
        made_of = _note(folder, assignment, student).read_text(encoding="utf-8")
    page = page_path(folder, assignment, student)
    if not made_of or not all((page.parent / name).is_file() for name in (page.name, *_RELEASED)):
        return False
    return made_of == _key(api, assignment, student)


def make_page(api: NbGraderAPI, assignment: str, student: str) -> str:
    """Make a feedback page through nbgrader, and note of what; "" or the reason why there is
    none."""
    key = _key(api, assignment, student)
    result = api.generate_feedback(assignment, student, force=True)
    if not result["success"]:
        return f"no feedback page: {last_error(result)}"
    _prepare_release(api, assignment, student)
    if key:
        from labsupport.files import write_whole

        with contextlib.suppress(OSError):  # a full disk, say: the page is made again next time
            write_whole(_note(Path(api.coursedir.root), assignment, student), key)
    return ""


def _prepare_release(api: NbGraderAPI, assignment: str, student: str) -> None:
    """Put what nbgrader's release_feedback opens beside a page where it is missing, as it is where
    work came from a learning platform: it would stop for the whole class.

    The secret says under which name the page lies in the exchange. Whoever has not fetched from
    there knows none, and finds the page in no other way either.
    """
    place = page_path(Path(api.coursedir.root), assignment, student).parent
    seed = api.config.get("ExecuteAndJudge", {}).get("seed") or secrets.token_hex(16)
    secret = hashlib.sha256(f"{seed}/{assignment}/{student}/feedback".encode()).hexdigest()
    for name, text in zip(_RELEASED, ("", secret), strict=True):
        if not (place / name).exists():
            (place / name).write_text(text, encoding="utf-8")


def _key(api: NbGraderAPI, assignment: str, student: str) -> str:
    folder = Path(api.coursedir.root)
    with api.gradebook as gradebook:
        return page_key(folder, gradebook, api.config, (assignment, student))


def _note(folder: Path, assignment: str, student: str) -> Path:
    return folder / ".labs" / "pages" / quote(assignment, safe="") / quote(student, safe="")


@lru_cache(maxsize=1)
def _maker() -> str:
    """What makes pages: ours by content, others' by version."""
    here, found = Path(__file__).parent, hashlib.sha256()
    for name in _MAKERS:
        top = here / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            found.update(path.read_bytes() if path.is_file() else b"")
    versions = [importlib.metadata.version(name) for name in _PACKAGES]
    return found.hexdigest() + json.dumps(versions)


def _settings(config: Config) -> str:
    """What the course has set of its pages' looks, a template of its own, say."""
    return json.dumps({name: config.get(name, {}) for name in _SECTIONS}, default=str)
