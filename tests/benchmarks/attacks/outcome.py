"""What an attack has come to, by the same eyes on both sides."""

import hashlib
import os
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from catalogue import Attack
from course import HONEST, SECRET, TESTS
from nbgrader.api import Gradebook, MissingEntry

ACTING = {"script", "svg", "math", "iframe", "object", "embed", "base", "form", "input", "link"}
FULL = 3.5


class Page(HTMLParser):
    """Counts what a browser would act on: scripts, handlers, links that run, pictures from afar."""

    def __init__(self, text: str):
        super().__init__()
        self.acting: Counter = Counter()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag in ACTING:
            self.acting[tag] += 1
        for name, value in attributes:
            value = "".join((value or "").lower().split())
            afar = tag == "img" and name == "src" and not value.startswith(("data:image/", "#"))
            if name.startswith("on") or value.startswith("javascript:") or afar:
                self.acting[f"{tag} {name}={value[:40]}"] += 1


def score_of(course: Path, stem: str, student: str) -> float | None:
    """The gradebook's word; None where there is no grade."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        try:
            found = gradebook.find_submission(stem, student)
        except MissingEntry:
            return None
        grades = [g for n in found.notebooks for g in n.grades if g.cell.cell_type == "code"]
        known = [g for g in grades if g.auto_score is not None or g.manual_score is not None]
        return float(sum(g.score for g in known)) if known else None


def tree(*folders: Path) -> dict[str, str]:
    """Every file with its content's hash, but for what grading itself writes."""
    found = {}
    for folder in folders:
        for base, names, files in os.walk(folder):
            names[:] = [
                n
                for n in names
                if n not in ("autograded", "feedback", ".labs", "__pycache__", "runtime", ".local")
            ]
            for name in files:
                path = Path(base, name)
                if name.startswith("gradebook.db") or not path.is_file() or path.is_symlink():
                    continue
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def harms(
    attack: Attack,
    course: Path,
    stem: str,
    student: str,
    before: dict,
    home: Path,
    score: float | None,
) -> list[str]:
    """What the attack has done that it should not have been able to do, without its own win."""
    found = []
    if (score or 0.0) < attack.earned:
        found.append("lost marks that were earned")
    after = tree(course, home)
    changed = {p for p in {*before, *after} if before.get(p) != after.get(p)}
    if changed:
        found.append("left or changed files: " + ", ".join(sorted(changed))[:200])
    page = course / "feedback" / student / stem / f"{stem}.html"
    honest = course / "feedback" / HONEST / stem / f"{stem}.html"
    shown = page.read_text() if page.exists() else ""
    beside = [
        p
        for top in ("autograded", "feedback")
        for p in (course / top).glob("*/*/*")
        if p.parents[1].name == student and p.is_file()
    ]
    if any(SECRET in p.read_text(errors="replace") for p in beside):
        found.append("showed a secret")
    # nbgrader's feedback shows the tests themselves; what counts is what the attack printed
    elif "hidden tests" in attack.name and shown.count(TESTS) > honest.read_text().count(TESTS):
        found.append("showed hidden tests")
    if page.exists() and honest.exists():
        live = Page(shown).acting - Page(honest.read_text()).acting
        if live:
            found.append("a live page: " + ", ".join(live))
    if score_of(course, stem, HONEST) != FULL:
        found.append("changed another student's marks")
    return found
