"""Warm processes: without a sandbox as with one, one for all workers, gone when nobody needs it."""

import json
import os
import shutil
import subprocess
import sys

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from small_class import STEM, tasks, until

from labsupport.grading.running.run import execute
from labsupport.grading.running.sandbox import warm as starting
from labsupport.grading.running.sandbox.warm import WarmProcess, WarmSandbox, can_fork_kernels
from labsupport.grading.workers import fanout, warmth
from labsupport.grading.workers.fanout import perform_all
from labsupport.grading.workers.task import perform

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)
pytestmark = pytest.mark.skipif(not can_fork_kernels(), reason="no warm kernels on this system")


@pytest.fixture
def free():
    with WarmProcess() as process:
        yield process


def said(source: str, kernels: WarmProcess) -> str:
    done = execute(new_notebook(cells=[new_code_cell(source)]), sandbox=kernels)
    return "".join(o.get("text", o.get("evalue", "")) for o in done.notebook.cells[0].outputs)


def is_there(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def findings(graded: str) -> tuple:
    about = json.loads(graded)["metadata"]["labsupport_grading"]
    return about["verdicts"], about["provenance"]["sandbox"]


def needs(mini_path, sandbox: bool) -> warmth.Needs:
    return warmth.needs_of(STEM, mini_path.read_text(encoding="utf-8"), sandbox)


# --- without a sandbox --------------------------------------------------------------------------


def test_a_kernel_without_a_sandbox_is_a_fork_with_its_own_folder_and_limits(free):
    look = (
        "import os, sys, resource, torch\n"
        "print(os.getppid(), os.getpid() == os.getsid(0), os.listdir(), len(sys.modules) > 1000,\n"
        "      resource.getrlimit(resource.RLIMIT_FSIZE)[0] // 2**20, torch.get_num_threads())\n"
        "open('mine', 'w').close(); NAME = 1"
    )
    expected = f"{free.place.pid} True [] True {free.limits.scratch_mb} 1\n"
    assert said(look, free) == expected
    assert said(look, free) == expected  # nothing of the first is left
    assert "NAME" in said("NAME", free)
    hoard = f"bytearray({free.limits.memory_mb + 100} * 2**20)"
    done = execute(new_notebook(cells=[new_code_cell(hoard)]), sandbox=free)
    assert done.notebook.cells[0].outputs[0].ename == "MemoryError" and not done.deaths


def test_what_a_kernel_without_a_sandbox_has_started_ends_with_it(free):
    start = (
        "import subprocess\nfor own in (False, True):\n"
        "    print(subprocess.Popen(['sleep', '600'], start_new_session=own).pid)"
    )
    pids = [int(word) for word in said(start, free).split()]
    assert len(pids) == 2
    until(lambda: not any(map(is_there, pids)))


def test_a_warm_process_without_a_sandbox_ends_with_whoever_started_it():
    code = (
        "from labsupport.grading.running.sandbox.warm import WarmProcess\n"
        "print(WarmProcess().place.pid, flush=True); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    warm = psutil.Process(int(parent.stdout.readline()))
    until(lambda: warm.memory_info().rss > 50 * 2**20)  # it imports
    parent.kill()
    parent.wait()
    until(lambda: not is_there(warm.pid))


@needs_bubblewrap
def test_grades_are_the_same_with_a_sandbox_and_without(mini_path):
    for task in tasks(mini_path):
        found = []
        for sandbox in (True, False):
            object.__setattr__(task, "sandbox", sandbox)
            found.append(findings(perform(task)))
        assert [sandboxed for _, sandboxed in found] == [True, False]
        assert found[0][0] == found[1][0]
    warmth.end_all_but(())


# --- one for all workers ------------------------------------------------------------------------


@pytest.mark.parametrize("sandbox", [pytest.param(True, marks=needs_bubblewrap), False])
def test_workers_take_their_kernels_from_one_process(mini_path, sandbox, monkeypatch):
    started = []

    def counted(kind):
        def start(*given, **named):
            started.append(kind(*given, **named))
            return started[-1]

        return start

    for kind in (WarmProcess, WarmSandbox):
        monkeypatch.setattr(starting, kind.__name__, counted(kind))
    class_ = tasks(mini_path)
    for task in class_:
        object.__setattr__(task, "sandbox", sandbox)
    seen = set()
    # other tests' processes, in the same test run
    before = {process.pid for process in psutil.Process().children(recursive=True)}

    def look(*given):
        for process in psutil.Process().children(recursive=True):
            if process.pid in before:
                continue
            try:
                words = process.cmdline()
            except psutil.Error:  # it has ended by now
                continue
            if any("sandbox.zygote" in word for word in words) and "bwrap" not in words[0]:
                seen.add(str(words[words.index("-m") + 2]))
        return original(*given)

    original = fanout._next_done
    monkeypatch.setattr(fanout, "_next_done", look)
    results = dict(perform_all(((t.seed, t) for t in class_), jobs=2))
    assert len(results) == len(class_) and not any(
        isinstance(r, Exception) for r in results.values()
    )
    assert len(started) == 1 and len(seen) == 1
    assert not started[0].alive() and not os.path.exists(started[0].run)


def test_a_worker_whose_warm_process_is_gone_starts_its_own(mini_path):
    task = tasks(mini_path)[0]
    object.__setattr__(task, "sandbox", False)
    place = warmth.warmed(needs(mini_path, False))
    assert warmth.warmed(needs(mini_path, False)) == place
    taken = warmth.kernels_for(needs(mini_path, False), place)
    assert taken.place == place and type(taken) is not WarmProcess
    psutil.Process(place.pid).kill()
    until(taken.lost)
    other = warmth.kernels_for(needs(mini_path, False), place)
    assert isinstance(other, WarmProcess) and other.place != place
    assert findings(perform(task, place))[0]
    warmth.end_all_but([needs(mini_path, False)])
    assert other.alive()
    warmth.end_all_but(())
    assert not other.alive()


def test_what_a_warm_process_imports_and_hides_is_the_labs(root):
    source = (root / "solutions" / "01_vision_transformer.py").read_text(encoding="utf-8")
    with_it, without = (warmth.needs_of("01", source, sandbox) for sandbox in (True, False))
    assert with_it.masks and not without.masks and with_it.imported == without.imported
    hidden = [f"labsupport.{m.removesuffix('.py').replace('/', '.')}." for m in with_it.masks]
    assert with_it.imported and not [n for n in with_it.imported if n.startswith(tuple(hidden))]
