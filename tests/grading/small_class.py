"""A small class to crash, and hands to do it with: submissions, runs as processes, who is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
from nbgrader.api import Gradebook

from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab
from labsupport.grading.demo import ON_TIME, set_due_date, solve, submit, without_diagnosis
from labsupport.grading.ledger.course_directory import init_course, release
from labsupport.grading.workers.task import GradingTask

STEM = "90_mini"
ROOT = Path(__file__).resolve().parents[2]
SLOW = "import time; time.sleep(2)\n"


def notebooks(mini_path: Path, slow: int = 0) -> dict[str, str]:
    """What a class hands in, by student: right, wrong, nothing, a crash; and ``slow`` right ones
    that take two seconds each, time enough to kill something."""
    lab = read_lab(mini_path)
    empty = student_notebook(lab)
    adds = without_diagnosis(lab.one("trap", "scale").source)
    handed_in = {
        "perfect": solve(empty, lab),
        "adds": solve(empty, lab, {"scale": adds}),
        "blank": empty,
        "crash": solve(empty, lab, {"twice": "def twice(x):\n    import os; os._exit(1)"}),
    }
    for index in range(slow):
        code = SLOW + lab.one("exercise", "scale").source
        handed_in[f"slow-{index}"] = solve(empty, lab, {"scale": code})
    return {student: dump(notebook) for student, notebook in handed_in.items()}


def tasks(mini_path: Path, slow: int = 0) -> list[GradingTask]:
    """The class as grading tasks; ``seed`` ends in the student."""
    source = mini_path.read_text(encoding="utf-8")
    return [
        GradingTask(STEM, source, text, f"secret/{student}")
        for student, text in notebooks(mini_path, slow).items()
    ]


def make_course(folder: Path, mini_path: Path, slow: int = 0) -> Path:
    """A course directory with the class's submissions."""
    init_course(folder, mini_path.parent)
    release(folder)
    set_due_date(folder, STEM)
    for student, text in notebooks(mini_path, slow).items():
        submit(folder, student, STEM, text, ON_TIME)
    return folder


def essence(graded: str) -> dict:
    """A graded notebook without what may differ: how long it took."""
    notebook = json.loads(graded)
    del notebook["metadata"]["labsupport_grading"]["provenance"]["seconds"]
    return notebook


def recorded(course: Path) -> dict[str, tuple]:
    """(score, essence) by student, as gradebook and autograded notebooks have it. Fails where a
    submission or one of its grades is there twice."""
    found = {}
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        for one in gradebook.assignment_submissions(STEM):
            student = one.student.id
            assert student not in found
            (notebook,) = one.notebooks
            names = [grade.name for grade in notebook.grades]
            assert len(names) == len(set(names)) == 3  # two judged, one by hand
            path = course / "autograded" / student / STEM / f"{STEM}.ipynb"
            found[student] = (one.score, essence(path.read_text(encoding="utf-8")))
            assert nbformat.read(path, as_version=4).cells
    return found


def grade(course: Path, temporary: Path, *options: str) -> subprocess.Popen:
    """``labs grade`` as a process of its own, whose temporary folder marks all its children."""
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "labsupport.cli", "grade", str(course), *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(run: subprocess.Popen, seconds: float = 240) -> str:
    """What a run has said, once it has ended."""
    try:
        return run.communicate(timeout=seconds)[0]
    finally:
        run.kill()


def family(temporary: Path) -> list[psutil.Process]:
    """Every process of the runs with this temporary folder, sandboxes and kernels included."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            marked = str(temporary) in words or process.environ().get("TMPDIR") == str(temporary)
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    return list({p.pid: p for p in found}.values())


def sandboxes(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The outermost bubblewrap processes among these."""
    return [p for p in processes if _name(p) == "bwrap" and _name(p.parent()) != "bwrap"]


def workers(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The worker processes among these: forks of the fork server."""
    return [p for p in processes if _is_forked(p) and _is_forked(p.parent())]


def _is_forked(process: psutil.Process | None) -> bool:
    try:
        return process is not None and any("forkserver" in word for word in process.cmdline())
    except psutil.Error:
        return False


def zygote(sandbox: psutil.Process) -> psutil.Process | None:
    below = [p for p in sandbox.children(recursive=True) if _name(p) != "bwrap"]
    return below[0] if below else None


def kernel(sandbox: psutil.Process) -> psutil.Process | None:
    """The kernel that runs in a sandbox just now: zygote, doorkeeper, kernel."""
    warm = zygote(sandbox)
    for door in warm.children() if warm else []:
        for inner in door.children():
            return inner
    return None


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)


def until(condition, seconds: float = 120):
    """Wait for something to be true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = condition()
        except (psutil.Error, FileNotFoundError, IndexError):
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {condition.__name__}")


def results(course: Path) -> list[Path]:
    return sorted((course / ".labs" / "results").glob("*.json"))


def _name(process: psutil.Process | None) -> str:
    try:
        return process.name() if process else ""
    except psutil.Error:
        return ""
