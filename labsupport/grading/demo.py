"""Class made up on embedded data: what ``labs demo`` hands in, and who plays the instructor.

Student ids say what each submission is: ``perfect``, ``blank``, ``trap-...`` for every trap of
the lab, ``other-...`` for right answers written differently, ``late`` and ``broken``.
"""

import copy
import datetime
import itertools
import re
from collections import Counter
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook

from labsupport.course.build import dump
from labsupport.course.lab import BEGIN, END, Lab, LabCell, solution_code
from labsupport.course.source import read_lab
from labsupport.errors import CourseError
from labsupport.grading.ledger.course_directory import load_config
from labsupport.grading.ledger.grades import db_url

DUE = datetime.datetime(2026, 1, 31, 23, 59)
ON_TIME = DUE - datetime.timedelta(hours=5)
LATE = DUE + datetime.timedelta(hours=26)


def make_class(folder: Path, stem: str, executed: Path | None = None) -> list[str]:
    """Hand in a class's notebooks for a released lab and return the student ids.

    ``executed`` is the executed solution, the source of the outputs a student hands in.
    """
    lab = read_lab(folder / "labs" / f"{stem}.py")
    released = nbformat.read(folder / "release" / stem / f"{stem}.ipynb", as_version=4)
    own = _outputs(executed)
    hand_in = {"perfect": solve(released, lab, outputs=own), "blank": released}
    for student, trap in known_mistakes(lab).items():
        code = without_diagnosis(trap.source)
        hand_in[student] = solve(released, lab, {trap.name: code}, own)
    for index in range(max(len(lab.of("alternative", name)) for name in lab.exercises)):
        others = {
            name: lab.of("alternative", name)[index].source
            for name in lab.exercises
            if index < len(lab.of("alternative", name))
        }
        hand_in[f"other-{index + 1}"] = solve(released, lab, others, own)
    hand_in["late"] = hand_in["perfect"]
    for student, notebook in hand_in.items():
        when = LATE if student == "late" else ON_TIME
        submit(folder, student, stem, dump(notebook), when)
    whole = dump(hand_in["perfect"])
    submit(folder, "broken", stem, whole[: len(whole) // 2], ON_TIME)  # an upload cut short
    return sorted([*hand_in, "broken"])


def solve(
    released: NotebookNode,
    lab: Lab,
    replace: dict[str, str] | None = None,
    outputs: dict[str, list] | None = None,
) -> NotebookNode:
    """A released notebook as a student with the solutions would hand it in.

    ``replace`` gives other code for some exercises; ``outputs`` those of cells that are not run
    for a grade, by id.
    """
    notebook = copy.deepcopy(released)
    for cell in notebook.cells:
        about = cell.metadata.get("labsupport", {})
        kind, name = about.get("kind"), about.get("name")
        if kind == "exercise":
            code = (replace or {}).get(name) or lab.one("exercise", name).source
            cell.source = solution_code(code)
        elif kind == "answer":
            answer = lab.one("question", name).source.split(BEGIN, 1)[1]
            cell.source = answer.replace(END, "").strip()
        elif kind in ("experiment", "given", "widget") and cell.cell_type == "code":
            cell.outputs = copy.deepcopy((outputs or {}).get(cell.id, []))
    return notebook


def known_mistakes(lab: Lab) -> dict[str, LabCell]:
    """The lab's traps by the student who hands each in; two exercises may share a label."""
    traps = lab.of("trap")
    shared = {label for label, n in Counter(slug(t.label) for t in traps).items() if n > 1}
    ids = [
        slug(t.label) if slug(t.label) not in shared else slug(f"{t.name} {t.label}") for t in traps
    ]
    return dict(zip((f"trap-{id_}" for id_ in ids), traps, strict=True))


def slug(label: str) -> str:
    """A label as part of a student id: lower case, hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def without_diagnosis(source: str) -> str:
    """A trap's code without the comment that begins it."""
    lines = source.strip().splitlines()
    return "\n".join(itertools.dropwhile(lambda line: line.startswith("#"), lines))


def submit(folder: Path, student: str, stem: str, text: str, when: datetime.datetime) -> None:
    """Put a notebook where nbgrader collects it, with its time stamp (UTC)."""
    place = folder / "submitted" / student / stem
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{stem}.ipynb").write_text(text, encoding="utf-8")
    (place / "timestamp.txt").write_text(when.strftime("%Y-%m-%d %H:%M:%S UTC"))


def set_due_date(folder: Path, stem: str, due: datetime.datetime = DUE) -> None:
    """Say in the gradebook when the lab is due (UTC)."""
    with Gradebook(db_url(folder, load_config(folder))) as gradebook:
        gradebook.update_or_create_assignment(stem, duedate=due)


def grade_answers_by_hand(folder: Path, stem: str) -> int:
    """Play the instructor: full points for every written answer that waits in the gradebook.

    Every demo student who wrote something wrote the model answer. Returns how many were graded.
    """
    count = 0
    with Gradebook(db_url(folder, load_config(folder))) as gradebook:
        for submission in gradebook.find_assignment(stem).submissions:
            for notebook in submission.notebooks:
                for grade in notebook.grades:
                    if grade.needs_manual_grade:
                        grade.manual_score = grade.max_score
                        grade.needs_manual_grade = False
                        count += 1
        gradebook.db.commit()
    return count


def check_empty(folder: Path) -> None:
    """A demo goes into a new folder. Raises CourseError where there is something already."""
    if folder.exists() and any(folder.iterdir()):
        raise CourseError(f"{folder} is not empty: name a new folder for the demo's course")


def _outputs(executed: Path | None) -> dict[str, list]:
    if executed is None or not executed.exists():
        return {}
    notebook = nbformat.read(executed, as_version=4)
    return {c.id: c.get("outputs", []) for c in notebook.cells}
