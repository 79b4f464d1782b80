"""A graded class without any grading: what a course has on disk and in its gradebook afterwards."""

import datetime

import nbformat
from nbformat.v4 import new_notebook
from nbgrader.api import Gradebook

from labsupport.course.build import student_notebook
from labsupport.course.source import read_lab
from labsupport.grading.demo import solve
from labsupport.grading.report.data import items_of

DUE = datetime.datetime(2026, 1, 31, 23, 59)
PROVENANCE = {
    "seconds": 6.0,
    "profile": "smoke",
    "sandbox": True,
    "deaths": {},
    "python": "3.11.7",
    "torch": "2.6.0",
    "labsupport": "0.1.0",
    "nbgrader": "0.9.6",
    "papermill": "2.6.0",
}


def hand_in(
    folder,
    stem,
    student,
    statuses,
    *,
    by_hand=None,
    late_hours=0.0,
    penalty=0.0,
    repairs=(),
    metadata=True,
    **provenance,
):
    """Record one graded submission. ``statuses``: exercise -> (status, message) or (status,
    message, hint), "passed" for the others; ``by_hand``: points of the written answers, None
    while they wait."""
    lab = read_lab(folder / "labs" / f"{stem}.py")
    items = items_of(lab)
    verdicts, points = [], {}
    for item in items:
        if item.by_hand:
            continue
        status, message, *hint = statuses.get(item.name, ("passed", "2 cases right"))
        points[item.cell] = item.points if status == "passed" else 0.0
        verdicts.append(
            {
                "exercise": item.name,
                "status": status,
                "points": points[item.cell],
                "max_points": item.points,
                "message": message,
                "hint": hint[0] if hint else "",
            }
        )
    graded = new_notebook()
    if metadata:
        graded.metadata["labsupport_grading"] = {
            "verdicts": verdicts,
            "repairs": list(repairs),
            "provenance": PROVENANCE | provenance,
        }
    for step in ("submitted", "autograded"):
        place = folder / step / student / stem
        place.mkdir(parents=True, exist_ok=True)
        nbformat.write(graded, place / f"{stem}.ipynb")
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        gradebook.update_or_create_assignment(stem, duedate=DUE)
        gradebook.update_or_create_student(student)
        found = gradebook.update_or_create_submission(
            stem, student, timestamp=DUE + datetime.timedelta(hours=late_hours - 1e-9)
        )
        (notebook,) = found.notebooks
        notebook.late_submission_penalty = penalty
        for grade in notebook.grades:
            if grade.name in points:
                grade.auto_score, grade.needs_manual_grade = points[grade.name], False
            else:
                grade.manual_score = by_hand
                grade.needs_manual_grade = by_hand is None
        gradebook.db.commit()


def write_notebook(folder, stem, student, written="", extra=()):
    """Put a solved notebook where grading would have left it, with what ``hand_in`` recorded in
    its metadata: enough to make a feedback page of. ``written``: the answer in every written
    answer's cell; ``extra``: cells that the student added at the end."""
    lab = read_lab(folder / "labs" / f"{stem}.py")
    path = folder / "autograded" / student / stem / f"{stem}.ipynb"
    graded = solve(student_notebook(lab), lab)
    graded.metadata |= nbformat.read(path, as_version=4).metadata
    for cell in graded.cells:
        if cell.metadata.get("labsupport", {}).get("kind") == "answer" and written:
            cell.source = written
    graded.cells += extra
    nbformat.write(graded, path)
    return path
