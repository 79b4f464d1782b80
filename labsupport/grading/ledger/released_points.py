"""Points of a lab in ``labs/`` and in the gradebook: the same, or nothing is graded.

``labs course release`` brings the gradebook up to them. What a person has given for an exercise
keeps its share of the points; an exercise that has left the lab leaves the gradebook.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nbgrader.api import Comment, Grade, Gradebook, MissingEntry, Notebook

from labsupport.course.build import student_notebook
from labsupport.course.lab import Lab
from labsupport.errors import CourseError
from labsupport.grading.ledger.exemptions import read_exemptions, write_exemptions
from labsupport.grading.ledger.gradebook import db_url
from labsupport.grading.ledger.settings import load_config


def points_by_cell(lab: Lab) -> dict[str, float]:
    """What each grade cell of a lab gives, by nbgrader's name for the cell."""
    judged = {cell.id: float(cell.points) for cell in lab.of("judge")}
    return judged | {f"answer-{cell.name}": float(cell.points) for cell in lab.of("question")}


def check_released(gradebook: Gradebook, lab: Lab) -> None:
    """Raise CourseError where a lab's points are not those of its release."""
    notebook = _notebook(gradebook, lab.stem)
    if notebook is None:
        return  # not released: nbgrader says so
    now, then = points_by_cell(lab), _maximum(notebook)
    for cell in (*now, *then):
        if now.get(cell) != then.get(cell):
            here = f"{now[cell]:g} points" if cell in now else "no such exercise"
            there = f"{then[cell]:g}" if cell in then else "none"
            raise CourseError(
                f"{cell.partition('-')[2]} of {lab.stem}: labs/ has {here}, the released lab "
                f"{there}: release it with 'labs course release DIR {lab.number}', then grade"
            )


@contextmanager
def points_follow(folder: Path, lab: Lab, say: Callable[[str], None]) -> Iterator[None]:
    """Around the release of a lab: what has been graded by hand follows its points.

    Raises CourseError for cells that are new in a lab that has been handed in.
    """
    with Gradebook(db_url(folder, load_config(folder))) as gradebook:
        notebook = _notebook(gradebook, lab.stem)
        if notebook is not None and notebook.submissions:
            for name in _drop_removed(gradebook, notebook, lab):
                say(f"{name} of {lab.stem} is gone: so are its points, those given by hand too")
            for name, new in points_by_cell(lab).items():
                cell = gradebook.find_graded_cell(name, lab.stem, lab.stem)
                if (old := float(cell.max_score)) != new:
                    count = _scale(gradebook, lab.stem, name, old, new)
                    cell.max_score = new  # as the release will say it; both at once, or neither
                    gradebook.db.commit()
                    _scale_exemptions(folder, lab.stem, name, old, new)
                    say(
                        f"{name.partition('-')[2]} of {lab.stem}: {new:g} points in the place of "
                        f"{old:g}{f', {count} hand grades with it' if count else ''}; run "
                        "'labs grade'"
                    )
    yield


def _notebook(gradebook: Gradebook, stem: str) -> Notebook | None:
    try:
        return gradebook.find_notebook(stem, stem)
    except MissingEntry:
        return None


def _maximum(notebook: Notebook) -> dict[str, float]:
    cells = (*notebook.grade_cells, *notebook.task_cells)
    return {cell.name: float(cell.max_score) for cell in cells}


def _drop_removed(gradebook: Gradebook, notebook: Notebook, lab: Lab) -> list[str]:
    """Take what has left the lab out of the gradebook, which nbgrader refuses to do once there
    are submissions; the exercises, by name."""
    now = {c.id for c in student_notebook(lab).cells if "nbgrader" in c.metadata}
    then = {cell.name for cell in notebook.source_cells}
    if added := sorted(now - then):
        raise CourseError(
            f"{lab.stem} has been handed in, and nbgrader cannot add to it ({', '.join(added)}): "
            "take that out again, or make it a lab of its own"
        )
    session, gone = gradebook.db, []
    graded = [*notebook.grade_cells, *notebook.solution_cells, *notebook.task_cells]
    for cell in graded:
        if cell.name not in now:
            session.query(Grade).filter(Grade.cell_id == cell.id).delete()
            session.query(Comment).filter(Comment.cell_id == cell.id).delete()
            gone += [cell.name.partition("-")[2]] if cell in notebook.grade_cells else []
            session.expire_all()
            session.delete(cell)
    for cell in notebook.source_cells:
        if cell.name not in now:
            session.delete(cell)
    session.commit()
    return sorted(gone)


def _scale(gradebook: Gradebook, stem: str, name: str, old: float, new: float) -> int:
    """Give hand grades of a cell the share of the new points that they had of the old ones."""
    count = 0
    for submission in gradebook.find_assignment(stem).submissions:
        for grade in (g for n in submission.notebooks for g in n.grades if g.cell.name == name):
            if grade.manual_score is None:
                continue
            if old == 0:  # it did not count: nobody knows what it is worth now
                grade.manual_score = None
                grade.needs_manual_grade = grade.auto_score is None
            else:
                grade.manual_score = _share(grade.manual_score, old, new)
                count += 1
    return count


def _scale_exemptions(folder: Path, stem: str, name: str, old: float, new: float) -> None:
    """The same for the points that come back when an exemption is revoked."""
    known = read_exemptions(folder)
    scaled = [
        replace(one, points_before=f"{_share(float(one.points_before), old, new):g}")
        if old and one.lab == stem and name in one.cells and one.points_before
        else one
        for one in known
    ]
    if scaled != known:
        write_exemptions(folder, scaled)


def _share(points: float, old: float, new: float) -> float:
    return round(points * new / old, 6)
