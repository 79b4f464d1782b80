"""The watch on a kernel: whatever comes late, its limits hold; where it fails, the kernel ends and
nobody is blamed."""

import shutil
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from small_class import essence, tasks, until

from labsupport.errors import SandboxError
from labsupport.grading.running import limits as watching
from labsupport.grading.running.limits import RunLimits, Watch, WatchFailed
from labsupport.grading.running.run import execute
from labsupport.grading.running.sandbox.provisioner import SandboxKernelClient
from labsupport.grading.running.tree import use_of
from labsupport.grading.workers.task import perform

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)
HOARD = "block = bytearray(150_000_000); print('ready', flush=True); import time; time.sleep(600)"
SLEEP = "print('ready', flush=True); import time; time.sleep(600)"
LATE = 1.0  # seconds; four looks


class Late:
    """Something that is ``before`` for a while."""

    def __init__(self, value, before=None):
        self._value, self._before, self._from = value, before, time.monotonic() + LATE

    def get(self):
        return self._value if time.monotonic() >= self._from else self._before


class Client:
    """What a watch needs of a client; ``late`` names the input that comes late."""

    def __init__(self, process, limits, late=""):
        self.limits, self.deaths, self._late = limits, [], late
        kernel = SimpleNamespace(lost_outputs=lambda: False, events=None)
        if late == "connect":
            kernel = SandboxKernelClient()  # nothing is connected, ever
        holder = Late(process) if late == "process" else SimpleNamespace(get=lambda: process)
        provisioner = _Provisioner(holder)
        self._km = Late(_Manager(provisioner, late)) if late == "km" else None
        self._now_km = _Manager(provisioner, late)
        self._kc = Late(kernel) if late == "kc" else SimpleNamespace(get=lambda: kernel)

    @property
    def km(self):
        return self._km.get() if self._km else self._now_km

    @property
    def kc(self):
        return self._kc.get()

    def end(self, death):
        self.deaths.append(death)
        watching.end_kernel(self.km)


class _Manager:
    def __init__(self, provisioner, late):
        self._provisioner = Late(provisioner) if late == "provisioner" else None
        self._now = provisioner

    @property
    def provisioner(self):
        return self._provisioner.get() if self._provisioner else self._now


class _Provisioner:
    def __init__(self, holder):
        self._holder = holder

    @property
    def process(self):
        return self._holder.get()


@pytest.fixture
def kernel():
    """Starts a process in a kernel's place."""
    started = []

    def start(code):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


INPUTS = ["", "km", "provisioner", "process", "kc", "connect", "slow"]


@pytest.mark.parametrize("late", INPUTS)
@pytest.mark.parametrize("limit", ["memory", "time"])
def test_limits_hold_whatever_comes_late(late, limit, kernel, monkeypatch):
    if late == "slow":
        look = watching.use_of
        monkeypatch.setattr(watching, "use_of", lambda *about: time.sleep(LATE) or look(*about))
    process = kernel(HOARD if limit == "memory" else SLEEP)
    client = Client(process, RunLimits(memory_mb=100), late)
    with Watch(client, 600 if limit == "memory" else 1) as watch:
        until(lambda: client.deaths)
        assert process.wait(60) == -9
    assert watch.error is None
    assert client.deaths[0].kind == limit


def raises(error):
    def fail(*args, **kwargs):
        raise error

    return fail


FAILURES = {
    "denied": (psutil.Process, "children", psutil.AccessDenied(1)),
    "contradictory": (psutil.Process, "children", psutil.NoSuchProcess(1)),
    "no descriptors": (watching, "use_of", OSError(24, "Too many open files")),
    "no memory": (watching, "wants", MemoryError()),
    "a mistake of ours": (watching, "kernel_process", AttributeError("events")),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("how", ["client", "by hand"])
def test_a_watch_that_fails_ends_the_kernel_and_says_so(name, how, kernel, monkeypatch):
    where, what, error = FAILURES[name]
    process = kernel(SLEEP)
    client = Client(process, RunLimits())
    if how == "by hand":
        client.end = raises(RuntimeError("the client is of no use"))
    monkeypatch.setattr(where, what, raises(error))
    with pytest.raises(WatchFailed, match="the watch on a kernel failed") as caught:
        with Watch(client, 600) as watch:
            assert process.wait(60) == -9
            raise ValueError("what the kernel's end led to")
    assert watch.error is not None and "\n" not in str(caught.value)
    assert isinstance(caught.value, SandboxError)  # ours


def test_a_watch_that_hangs_is_noticed(kernel, monkeypatch):
    monkeypatch.setattr(watching, "STUCK_SECONDS", 1)
    hang = SimpleNamespace(over=False)

    def look(*about):
        until(lambda: hang.over)

    monkeypatch.setattr(watching, "use_of", look)
    with pytest.raises(WatchFailed, match="it has not looked for 1 s"):
        with Watch(Client(kernel(SLEEP), RunLimits()), 600) as watch:
            until(watch.failed)
            hang.over = True


@needs_bubblewrap
def test_outputs_that_are_connected_late_leave_memory_watched(sandbox, monkeypatch):
    connect = SandboxKernelClient.connect_iopub

    def late(client, identity=None):
        time.sleep(LATE)
        return connect(client, identity)

    monkeypatch.setattr(SandboxKernelClient, "connect_iopub", late)
    cells = [
        new_code_cell(
            "block = bytearray(900_000_000)\nfor i in range(0, len(block), 4096):\n"
            "    block[i] = 1\nimport time; time.sleep(600)"
        ),
        new_code_cell("print('after')"),
    ]
    done = execute(new_notebook(cells=cells), None, RunLimits(memory_mb=500), sandbox)
    assert done.deaths[0].kind == "memory"
    assert done.notebook.cells[1].outputs[0].text == "after\n"


@needs_bubblewrap
def test_a_submission_whose_watch_failed_is_tried_once_more(mini_path, monkeypatch):
    (task,) = (t for t in tasks(mini_path) if t.seed.endswith("/adds"))
    right = essence(perform(task))
    lost, failures = SandboxKernelClient.lost_outputs, []

    def fails_once(client):
        if not failures:
            failures.append(client)
            raise AttributeError("'SandboxKernelClient' object has no attribute 'events'")
        return lost(client)

    monkeypatch.setattr(SandboxKernelClient, "lost_outputs", fails_once)
    assert essence(perform(task)) == right and len(failures) == 1
    monkeypatch.setattr(SandboxKernelClient, "lost_outputs", raises(AttributeError("events")))
    with pytest.raises(WatchFailed, match=r"the watch on a kernel failed \(AttributeError: events"):
        perform(task)


def test_very_many_children_are_counted_and_not_looked_at(monkeypatch):
    """While each was looked at, a fork bomb would go on."""

    class Bomb:
        pid = 1

        def children(self, recursive):
            return [None] * 5000

    monkeypatch.setattr("labsupport.grading.running.tree._stat", lambda *about: 1 / 0)
    use = use_of(Bomb(), most_tasks=200)
    assert use.tasks == 5000 and use.wanted


def test_a_closer_look_that_does_not_come_back_holds_up_nothing(monkeypatch):
    """As at a process that forks without end: its other limits are looked at all the same."""
    come_back = threading.Event()
    monkeypatch.setattr(
        "labsupport.grading.running.tree._proportional", lambda pid: come_back.wait() and 7
    )
    process = psutil.Process()
    use = use_of(process, most_memory=1)
    assert use.memory == 1 and use.tasks >= 1  # not known to be more
    come_back.set()
    known = until(lambda: (now := use_of(process, most_memory=1)).memory > 1 and now)
    assert known.memory % 7 == 0
