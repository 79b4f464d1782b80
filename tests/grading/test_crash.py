"""kill -9 of anything, at any moment: every submission is graded once, and nothing is left."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import dask
import psutil
import pytest
from small_class import (
    essence,
    family,
    finish,
    grade,
    kernel,
    kill,
    make_course,
    recorded,
    results,
    sandboxes,
    tasks,
    until,
    workers,
    zygote,
)

from labsupport.grading.ledger.grades import grade_course
from labsupport.grading.ledger.store import ResultStore
from labsupport.grading.running.scratch import PREFIX
from labsupport.grading.workers import fanout
from labsupport.grading.workers.task import perform

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing")
SLOW_ONES = 3
SCORES = {
    "perfect": 3.5,
    "adds": 1.5,
    "blank": 0,
    "crash": 2,
    **{f"slow-{i}": 3.5 for i in range(SLOW_ONES)},
}


@pytest.fixture(scope="module")
def course(mini_path, tmp_path_factory):
    return make_course(tmp_path_factory.mktemp("courses") / "mini", mini_path, SLOW_ONES)


@pytest.fixture(scope="module")
def right(mini_path):
    """What an uninterrupted grading gives, by student."""
    return {t.seed.split("/")[1]: essence(perform(t)) for t in tasks(mini_path, SLOW_ONES)}


@pytest.fixture
def temporary(tmp_path_factory):
    return tmp_path_factory.mktemp("t", numbered=True)


def verdicts(graded: dict) -> list[dict]:
    return graded["metadata"]["labsupport_grading"]["verdicts"]


def nobody_left(temporary: Path) -> bool:
    return not family(temporary)


def test_a_run_killed_while_executing_and_while_recording(course, temporary, right):
    run = grade(course, temporary, "--jobs", "2")
    until(lambda: len(results(course)) >= 2 and kernel(sandboxes(family(temporary))[0]))
    assert run.poll() is None
    refused = grade(course, temporary.with_name("other"), "--jobs", "1")
    assert "is being graded by another run: wait for it to end" in finish(refused)
    assert refused.returncode == 1
    run.send_signal(signal.SIGKILL)
    finish(run)
    until(lambda: nobody_left(temporary), 30)
    kept = {path: path.stat().st_mtime_ns for path in results(course)}
    assert 2 <= len(kept)

    run = grade(course, temporary, "--jobs", "1")
    autograded = course / "autograded"
    until(lambda: len(results(course)) == len(SCORES) and len(list(autograded.iterdir())) >= 2)
    run.send_signal(signal.SIGKILL)
    finish(run)
    until(lambda: nobody_left(temporary), 30)
    assert kept.items() <= {p: p.stat().st_mtime_ns for p in results(course)}.items()

    kept = {path: path.stat().st_mtime_ns for path in results(course)}
    run = grade(course, temporary, "--jobs", "1")
    assert "90" in finish(run) and run.returncode == 0
    assert {p: p.stat().st_mtime_ns for p in results(course)} == kept  # nothing was run again
    found = recorded(course)
    assert {student: score for student, (score, _) in found.items()} == SCORES
    for student, (_, graded) in found.items():
        assert verdicts(graded) == verdicts(right[student])
    assert nobody_left(temporary)
    assert not list(temporary.glob(f"{PREFIX}*")) and not list(temporary.glob("labs-new-*"))
    assert not list((course / ".labs").rglob("*.part"))


def test_workers_sandboxes_and_kernels_killed_in_one_run(course, temporary, right):
    """Each of them once, while the run goes on: it ends as if nothing had happened."""
    run = grade(course, temporary, "--jobs", "2", "--again")
    for victim in (
        lambda box: kernel(box),
        lambda box: kernel(box) and zygote(box),
        lambda box: kernel(box) and box,
        lambda box: kernel(box) and next(iter(workers(family(temporary))), None),
    ):

        def busy(victim=victim):
            return next(filter(None, map(victim, sandboxes(family(temporary)))), None)

        kill(until(busy))
    assert "90" in finish(run) and run.returncode == 0
    found = recorded(course)
    assert {student: score for student, (score, _) in found.items()} == SCORES
    for student, (_, graded) in found.items():
        assert verdicts(graded) == verdicts(right[student])
    until(lambda: nobody_left(temporary), 30)
    assert not list(temporary.glob(f"{PREFIX}*"))


@pytest.mark.parametrize("what", ["kernel", "zygote", "sandbox"])
def test_a_death_from_outside_is_not_the_students(mini_path, right, what):
    """As ``nbgrader autograde`` does it, where no cluster tries again."""
    (task,) = (t for t in tasks(mini_path, 1) if t.seed.endswith("/slow-0"))
    done = []
    thread = threading.Thread(target=lambda: done.append(perform(task)))
    thread.start()

    def victim():
        me = psutil.Process()
        for box in sandboxes(me.children(recursive=True)):
            running = kernel(box)
            if running:
                return {"kernel": running, "zygote": zygote(box), "sandbox": box}[what]
        return None

    kill(until(victim))
    thread.join(120)
    assert essence(done[0]) == right["slow-0"]


def test_a_submission_whose_workers_keep_dying_is_reported_and_others_are_graded(
    mini_path, monkeypatch
):
    monkeypatch.setattr(fanout, "_on_worker", grade_or_die)
    todo = [(task.seed.split("/")[1], task) for task in tasks(mini_path)]
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):  # 3, to be quicker here
        outcomes = dict(fanout.perform_all(todo, 2))
    assert isinstance(outcomes.pop("crash"), fanout.WorkersDied)
    assert outcomes == {"perfect": "graded", "adds": "graded", "blank": "graded"}


def grade_or_die(task, *about):
    if task.seed.endswith("/crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    return "graded"


@pytest.mark.parametrize("damage", ["half", "json", "other", "empty"])
def test_a_damaged_result_is_noticed(tmp_path, damage):
    store = ResultStore(tmp_path)
    store.put("a", '{"cells": []}')
    store.put("b", '{"cells": [1]}')
    path = tmp_path / ".labs" / "results" / "a.json"
    text = path.read_text()
    path.write_text(
        {
            "half": text[: len(text) // 2],
            "json": '{"check": 3}',
            "empty": "",
            "other": (tmp_path / ".labs" / "results" / "b.json").read_text(),
        }[damage]
    )
    assert store.get("a") is None
    store.put("a", "again")
    assert store.get("a") == "again"


def test_a_damaged_result_is_made_again(course, temporary):
    """After the runs above: one file is cut, and only that submission is run."""
    victim = results(course)[0]
    kept = {p: p.stat().st_mtime_ns for p in results(course)[1:]}
    victim.write_text(victim.read_text()[:1000])
    rows = grade_course(course, jobs=1)
    assert {row.student: row.score for row in rows} == SCORES
    assert not [row for row in rows if row.error]
    assert len(json.loads(victim.read_text())["check"]) == 64
    assert kept.items() <= {p: p.stat().st_mtime_ns for p in results(course)}.items()


def test_a_full_disk_is_an_error_and_no_loss(course, tmp_path):
    """On a real file system of a few megabytes, in a mount name space of its own."""
    script = tmp_path / "full.py"
    script.write_text(FULL)
    words = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
    probe = subprocess.run(
        [*words, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True, text=True
    )
    if probe.returncode:
        pytest.skip(f"no file system can be mounted here: {probe.stderr.strip()[:100]}")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        [*words, sys.executable, str(script), str(course), str(place)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said["errors"]) == 2
    for error in said["errors"]:
        assert "No space left on device" in error and "run again to go on" in error
        assert "\n" not in error
    assert said["scores"] == SCORES
    assert 1 <= said["graded at first"] < len(SCORES)
    assert said["graded in all"] <= len(SCORES) + 1  # twice: the one that found the disk full


# Results come from the runs above: what is tested is where they are written, not how they are made.
FULL = """
import json, os, shutil, subprocess, sys
from pathlib import Path
from labsupport.errors import CourseError
from labsupport.grading.ledger import grades as course_grades
from labsupport.grading.ledger.store import ResultStore

source, place = Path(sys.argv[1]), Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)], check=True)
course = place / "mini"
shutil.copytree(source, course, ignore=shutil.ignore_patterns(".labs", "autograded", "feedback"))
made = []

def perform_all(tasks, jobs, scheduler=""):
    for label, task in tasks:
        made.append(task.fingerprint)
        yield label, ResultStore(source).get(task.fingerprint)

course_grades.perform_all = perform_all
ballast, errors = place / "ballast", []

def fill(leave):
    free = shutil.disk_usage(place).free
    with open(ballast, "wb") as file:
        file.write(b"x" * max(free - leave, 0))

def attempt():
    try:
        rows = course_grades.grade_course(course, jobs=1)
        bad = [row.error for row in rows if row.error]
        assert not bad, bad
        return rows
    except CourseError as error:
        errors.append(str(error))

fill(leave=40_000)                 # room for a few results
attempt()
first = len(made)
ballast.unlink()
fill(leave=300_000)                # room for the results, not for all pages of feedback
attempt()
ballast.unlink()
rows = attempt()
print(json.dumps({"errors": errors, "scores": {r.student: r.score for r in rows},
                   "graded at first": first, "graded in all": len(made)}))
"""
