"""Attacks run on the small lab, in one sandbox, beside an instructor's file that must not leak."""

import contextlib
import copy
import os
import shutil
import signal
import socket
import threading
import time

import psutil
import pytest

from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab
from labsupport.grading.demo import solve
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.running.limits import RunLimits
from labsupport.grading.submission.submission import grade_submission

SECRET = "canary-5e1f"
SECONDS = 90  # for one test
MOST = 400 * 2**20  # bytes that the grader itself may take in while it looks at one submission
os.environ["LABS_TEST_CANARY"] = SECRET  # before the sandbox starts


@pytest.fixture(scope="session")
def key(mini_path):
    return AnswerKey(read_lab(mini_path))


@pytest.fixture(scope="session")
def released(key):
    return student_notebook(key.lab)


@pytest.fixture(scope="session")
def perfect(key, released):
    return solve(released, key.lab)


@pytest.fixture(scope="session")
def jail(sandbox):
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    return sandbox


@pytest.fixture(scope="session")
def host(tmp_path_factory, root):
    """What an attack is told about the host: (its words, what stands for them)."""
    canary = tmp_path_factory.mktemp("instructor") / "gradebook.db"
    canary.write_text(SECRET)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield {
            "CANARY": str(canary),
            "ROOT": str(root),
            "PARENT": str(os.getpid()),
            "PORT": str(server.getsockname()[1]),
        }
    assert canary.read_text() == SECRET


@pytest.fixture(scope="session")
def hand_in(key, perfect, jail):
    """Grade a submission as the pipeline does: realigned, in the sandbox, judged."""

    def run(submitted, student="someone", **limits):
        chosen = RunLimits(**{"cell_seconds": 4, "memory_mb": 700, "output_mb": 2, **limits})
        graded = grade_submission(
            key, copy.deepcopy(submitted), seed=f"secret/{student}", limits=chosen, sandbox=jail
        )
        return graded, dump(graded.notebook)

    run(perfect)  # makes what a process makes once: its sockets' context and its thread
    return run


@pytest.fixture(autouse=True)
def in_time():
    """A watchdog: a grader that an attack holds up is a failure, not a test run without end."""

    def late(*_):
        raise AssertionError(f"the grader was held up for {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def untouched(jail, hand_in):
    """After an attack the sandbox is as it was: its warm process, no kernel, no file, no log. The
    grader has kept no descriptor or thread of it, and has not taken in much."""
    here = psutil.Process()
    before, peak, over = _held(), [here.memory_info().rss], threading.Event()

    def watch():
        while not over.wait(0.02):
            peak.append(here.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    yield
    over.set()
    watching.join()
    assert max(peak) - peak[0] < MOST, f"the grader took {(max(peak) - peak[0]) >> 20} MB"
    until = time.monotonic() + 20
    while time.monotonic() < until and (left := _left(jail)):
        time.sleep(0.05)
    assert left == []
    assert jail.alive()
    assert all(now <= then + 2 for now, then in zip(_held(), before)), (before, _held())
    assert [p.name for p in jail.run.iterdir()] == ["zygote.sock"]
    assert os.path.getsize(jail._errors.name) < 10_000


def _held() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def _left(jail) -> list[str]:
    inside = psutil.Process(jail._process.pid).children(recursive=True)
    found = []
    for one in inside[2:]:  # after bubblewrap's own first process, and the warm one
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one on its way
            found.append(one.name())
    return found
