"""Check-up of a course for ``labs doctor DIR``: what is set, and how to set what is not."""

import stat
from dataclasses import dataclass
from pathlib import Path

from nbgrader.api import Assignment, Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange.default.exchange import Exchange
from nbgrader.plugins import LateSubmissionPlugin
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import check_directory
from traitlets.config import Config

from labsupport.course.source import find_labs
from labsupport.errors import LabError
from labsupport.grading.ledger.course_directory import CONFIG, config_text, course_api
from labsupport.grading.ledger.gradebook import open_gradebook, shown
from labsupport.grading.ledger.settings import load_config
from labsupport.grading.running.sandbox.visible import bubblewrap

PAGE = "docs/instructors.md says more"


@dataclass(frozen=True)
class Look:
    """One thing that was looked at. ``state``: "set", "not set" (nothing need be wrong) or
    "wrong"; ``text``: what is, and how to set or mend it."""

    name: str
    state: str
    text: str


def checkup(folder: Path) -> list[Look]:
    """Look at a course. Raises CourseError where it is none or its settings cannot be read."""
    folder = folder.resolve()
    config = load_config(folder)
    found = [_labs(folder), _settings(folder), _sandbox()]
    with course_api(folder):  # nbgrader finds what it calls
        gradebook = _gradebook(config)
        found.append(gradebook)
        if gradebook.state == "set":
            with Gradebook(config.CourseDirectory.db_url) as book:
                found += [_roster(book, folder), _due_dates(book, folder)]
        else:
            found += [Look(name, "not set", "after a release") for name in ("roster", "due dates")]
    return [*found, _late_policy(config), _graders(config, folder), _exchange(config)]


def _labs(folder: Path) -> Look:
    try:
        stems = [path.stem for path in find_labs(folder / "labs")]
    except FileNotFoundError as error:
        return Look("labs", "wrong", str(error))
    waiting = [s for s in stems if not (folder / "release" / s / f"{s}.ipynb").exists()]
    if waiting:
        told = f"not released: {', '.join(waiting)}: 'labs course release {folder}'"
        return Look("labs", "not set", told)
    return Look("labs", "set", f"{', '.join(stems)}, released")


def _settings(folder: Path) -> Look:
    """Settings that a course made by an earlier version of the package lacks."""
    path = folder / CONFIG
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    wanted = [
        line.strip().strip('",').rsplit("= ", 1)[-1].strip('"')
        for line in config_text("").splitlines()
        if "labsupport." in line
    ]
    lacking = [name for name in wanted if name not in text]
    if lacking:
        told = f"{CONFIG} lacks {', '.join(lacking)}: take these lines from a new course's file"
        return Look("settings", "not set", told)
    return Look("settings", "set", str(path))


def _sandbox() -> Look:
    try:
        return Look("sandbox", "set", bubblewrap())
    except LabError as error:
        return Look("sandbox", "wrong", str(error))


def _gradebook(config: Config) -> Look:
    url = config.CourseDirectory.db_url
    if url.startswith("sqlite") and not Path(shown(url)).exists():
        told = f"{shown(url)}: made when a lab is released; a server's: c.CourseDirectory.db_url"
        return Look("gradebook", "not set", told)
    try:
        open_gradebook(url)
    except LabError as error:
        return Look("gradebook", "wrong", str(error))
    return Look("gradebook", "set", shown(url))


def _roster(book: Gradebook, folder: Path) -> Look:
    students = book.students
    named = sum(bool(s.first_name or s.last_name) for s in students)
    how = (
        f"in formgrader, 'Manage Students', or in {folder}: nbgrader db student import FILE.csv "
        "(columns id, first_name, last_name, email, lms_user_id); 'labs collect' adds who handed in"
    )
    if not students:
        return Look("roster", "not set", f"no students: {how}")
    some = f"{len(students) - named} without a name: {how}"
    told = "all with a name" if named == len(students) else some
    return Look("roster", "set", f"{len(students)} of them, {told}")


def _due_dates(book: Gradebook, folder: Path) -> Look:
    dates = {a.name: a.duedate for a in book.db.query(Assignment).order_by(Assignment.name)}
    lacking = [name for name, date in dates.items() if date is None]
    told = [f"{name} {date:%Y-%m-%d %H:%M} UTC" for name, date in dates.items() if date]
    how = f"labs course due {folder} {(lacking or ['LAB'])[0]} 'YYYY-MM-DD HH:MM'"
    if lacking or not dates:
        told.append(f"none for {', '.join(lacking) or 'any lab'}: nothing is late there; {how}")
    return Look("due dates", "not set" if lacking or not dates else "set", "; ".join(told))


def _late_policy(config: Config) -> Look:
    plugin = AssignLatePenalties(config=config).plugin_class
    method = LateSubmissionPlugin(config=config).penalty_method
    if plugin is not LateSubmissionPlugin:
        return Look("late policy", "set", f"{plugin.__module__}.{plugin.__name__}")
    if method == "none":
        told = (
            'late work loses nothing; c.LateSubmissionPlugin.penalty_method = "zero" in '
            f"{CONFIG} gives it no points, a plug-in of your own what you like; {PAGE}"
        )
        return Look("late policy", "not set", told)
    return Look("late policy", "set", f"penalty_method = {method!r}")


def _graders(config: Config, folder: Path) -> Look:
    if not CourseDirectory(config=config).groupshared:
        told = (
            f"one account grades; for several, c.CourseDirectory.groupshared = True in {CONFIG} "
            f"and the folder is the group's; {PAGE}"
        )
        return Look("several graders", "not set", told)
    mode = folder.stat().st_mode
    if mode & 0o2070 != 0o2070:
        told = (
            f"{folder} is {stat.filemode(mode)}: the group cannot write there, or what is made "
            f"there is not the group's: chgrp -R GROUP {folder} && chmod -R g+rwX {folder} && "
            f"find {folder} -type d -exec chmod g+s {{}} +"
        )
        return Look("several graders", "wrong", told)
    return Look("several graders", "set", "groupshared, and the group may write")


def _exchange(config: Config) -> Look:
    root, course = Exchange(config=config).root, CourseDirectory(config=config).course_id
    if not course:
        return Look("exchange", "wrong", f"no c.CourseDirectory.course_id in {CONFIG}")
    if check_directory(root, read=True, write=True, execute=True):
        return Look("exchange", "set", f"{root}, course {course!r}")
    told = (
        f"{root} is not there, or you may not write in it: needed only where students fetch and "
        f"submit with nbgrader; mkdir -p {root} && chmod 777 {root}, or c.Exchange.root; {PAGE}"
    )
    return Look("exchange", "not set", told)
