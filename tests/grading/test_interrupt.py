"""Ctrl-C and SIGTERM, at any moment: one line, nobody and nothing left, and the grades of a run
that nobody disturbed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from small_class import ROOT, family, finish, grade, kernel, make_course, recorded, results, until
from small_class import sandboxes as boxes

from labsupport.grading.ledger.store import only_run

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing")
LINE = "labs: stopped; what is done is kept: run the same command again to go on"
PATIENCE = 60  # a watchdog's bound, not a speed
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture
def tmp_path():
    """A folder with a short name: it is the temporary folder of commands, and a socket's path in it
    has room for about a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)


@pytest.fixture(scope="module", autouse=True)
def heard():
    """Where the tests run in the background Ctrl-C is ignored, and so it would be by all that they
    start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def undisturbed(mini_path, tmp_path_factory):
    """A course, graded: (folder, what is in its gradebook, its grades.csv)."""
    folder = make_course(tmp_path_factory.mktemp("courses") / "mini", mini_path, slow=2)
    untouched = folder.with_name("untouched")
    shutil.copytree(folder, untouched)
    run = grade(folder, tmp_path_factory.mktemp("t"), "--jobs", "2")
    said = finish(run)
    assert run.returncode == 0, said
    return untouched, grades(folder), (folder / "grades.csv").read_text()


@pytest.fixture(scope="module")
def course(undisturbed):
    folder = undisturbed[0].with_name("disturbed")
    shutil.copytree(undisturbed[0], folder)
    return folder


def stop(run: subprocess.Popen, number: int) -> str:
    """Send a signal as it is sent: Ctrl-C goes to all that a terminal has in front, SIGTERM to one
    process. What the run has said, once it has ended by itself."""
    os.killpg(run.pid, number) if number == signal.SIGINT else os.kill(run.pid, number)
    begin = time.monotonic()
    try:
        run.wait(PATIENCE)
    finally:
        said = finish(run)
    print(f"{signal.Signals(number).name}: ended after {time.monotonic() - begin:.2f} s")
    return said


def grades(course: Path) -> dict[str, tuple]:
    """What the gradebook and the graded notebooks say, but for which version of us said it."""
    found = recorded(course)
    for _, notebook in found.values():
        del notebook["metadata"]["labsupport_grading"]["fingerprint"]
    return found


def nothing_left(temporary: Path) -> None:
    until(lambda: not family(temporary), PATIENCE)
    assert not list(temporary.iterdir())


def moments() -> list[tuple[str, int, float]]:
    """(what has begun, the signal, how much later): a fixed draw of ten."""
    draw = random.Random(19)
    phases = ["import", "workers", "kernel", "record", "feedback"]
    return [(phase, number, draw.uniform(0, 1.5)) for phase in phases for number in SIGNALS]


def begun(phase: str, course: Path, temporary: Path):
    """A condition: a run with this temporary folder has come so far."""
    pages = {p: p.stat().st_mtime_ns for p in course.glob("feedback/*/*/*.html")}

    def page_made():
        now = {p: p.stat().st_mtime_ns for p in course.glob("feedback/*/*/*.html")}
        return now != pages

    return {
        "import": lambda: True,
        "workers": lambda: len(family(temporary)) > 3,
        "kernel": lambda: any(kernel(box) for box in boxes(family(temporary))),
        "record": lambda: results(course),
        "feedback": page_made,
    }[phase]


def test_ten_random_moments_and_then_to_the_end(course, undisturbed, tmp_path):
    _, right, table = undisturbed
    for index, (phase, number, later) in enumerate(moments()):
        temporary = tmp_path / str(index)
        condition = begun(phase, course, temporary)
        shutil.rmtree(course / "feedback", ignore_errors=True)
        run = grade(course, temporary, "--jobs", "2", "--again")
        until(lambda run=run, condition=condition: run.poll() is not None or condition())
        time.sleep(later)
        before = run.poll()
        said = stop(run, number)
        if before is None and run.returncode != 0:  # it had not come to its end
            assert run.returncode == SIGNALS[number], said
            assert said.count(LINE) == 1 and "Traceback" not in said, said
        nothing_left(temporary)
        with only_run(course):
            pass  # the lock is free
        for path in results(course):
            assert len(json.loads(path.read_text())["check"]) == 64  # each is whole

    kept = {p: p.stat().st_mtime_ns for p in results(course)}
    run = grade(course, tmp_path / "end", "--jobs", "2")
    said = finish(run)
    assert run.returncode == 0, said
    assert grades(course) == right
    assert (course / "grades.csv").read_text() == table
    assert kept.items() <= {p: p.stat().st_mtime_ns for p in results(course)}.items()
    nothing_left(tmp_path / "end")


def test_a_second_ctrl_c_changes_nothing(course, undisturbed, tmp_path):
    run = grade(course, tmp_path / "t", "--jobs", "2", "--again")
    until(begun("kernel", course, tmp_path / "t"))
    os.killpg(run.pid, signal.SIGINT)
    said = stop(run, signal.SIGINT)
    assert run.returncode == 130 and said.count(LINE) == 1 and "Traceback" not in said
    nothing_left(tmp_path / "t")
    run = grade(course, tmp_path / "t", "--jobs", "2")
    assert finish(run) and run.returncode == 0
    assert grades(course) == undisturbed[1]


def test_a_cluster_without_workers_says_so_and_can_be_left(course, tmp_path):
    about = tmp_path / "about.json"
    words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "dask", *words, "--scheduler-file", str(about)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = json.loads(until(lambda: about.exists() and about.read_text()))["address"]
        run = grade(course, tmp_path / "t", "--again", "--scheduler", address)
        for line in run.stdout:
            if "no worker" in line:
                break
        assert f"{address} has no worker: start one with 'dask worker {address} --nth" in line
        assert run.poll() is None  # and goes on waiting
        said = stop(run, signal.SIGINT)
        assert run.returncode == 130 and said.count(LINE) == 1 and "Traceback" not in said, said
        nothing_left(tmp_path / "t")
    finally:
        scheduler.kill()
        scheduler.wait()


COMMANDS = {
    "report": ("report", "{course}"),
    "collect": ("collect", "{course}", "{course}/submitted"),
    "build": ("build", "01"),
    "audit": ("audit", "01", "--workers", "1"),
    "demo": ("demo", "{place}", "--lab", "01"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stops_with_one_line(name, course, tmp_path):
    """While it imports, or a little later; none of them takes less long than that."""
    words = [w.format(course=course, place=tmp_path / "demo") for w in COMMANDS[name]]
    temporary = tmp_path / "t"
    temporary.mkdir()
    run = subprocess.Popen(
        [sys.executable, "-m", "labsupport.cli", *words],
        env=os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    # from here on the command listens
    until(lambda: "1" in _caught(run.pid), PATIENCE)
    time.sleep(random.Random(name).uniform(0, 0.5))
    said = stop(run, signal.SIGINT)
    assert run.returncode == 130, said
    assert said.count("labs: stopped; ") == 1 and "Traceback" not in said, said
    nothing_left(temporary)


def _caught(pid: int) -> str:
    """Whether a process has a handler for SIGINT: the second bit of its mask."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt"):
            return str(int(line.split()[1], 16) >> signal.SIGTERM - 1 & 1)
    return ""
