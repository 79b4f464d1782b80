"""A grade does not depend on how busy the machine is: what is counted, and what is tried again."""

import json
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from small_class import STEM, tasks, until

from labsupport.errors import SandboxError
from labsupport.grading.running.clock import LATE, LOOK_SECONDS, Clock
from labsupport.grading.running.engine import LimitedClient
from labsupport.grading.running.kernels import kernel_process
from labsupport.grading.running.limits import RunLimits, Watch
from labsupport.grading.running.run import DIED, execute
from labsupport.grading.running.tree import Use, use_of
from labsupport.grading.workers import fanout
from labsupport.grading.workers.task import GradingTask, perform

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)


def charged(looks, step=LOOK_SECONDS, **about) -> float:
    """What a clock says after looks at (processor seconds, wanted)."""
    clock = Clock(use_wall=about.pop("use_wall", False))
    clock.look(Use(), now=0)
    for number, (processor, wanted) in enumerate(looks, 1):
        clock.look(Use(processor=processor, wanted=wanted), now=number * step, **about)
    return clock.seconds


def test_waiting_for_a_processor_is_not_charged():
    """An hour in the run queue, a second of work."""
    looks = [(number / 14_400, True) for number in range(1, 14_401)]
    assert charged(looks) == pytest.approx(1)


def test_work_on_a_quiet_machine_and_on_a_busy_one_cost_the_same():
    quiet = [(number * LOOK_SECONDS, True) for number in range(1, 41)]
    busy = [(number * LOOK_SECONDS / 15, True) for number in range(1, 601)]
    assert charged(quiet) == pytest.approx(charged(busy)) == pytest.approx(10)


def test_sleep_is_charged_and_so_is_a_lock_that_never_opens():
    assert charged([(0, False)] * 40) == pytest.approx(10)
    assert charged([(3, False)] * 40) == pytest.approx(13)


def test_a_look_that_comes_late_knows_little():
    assert charged([(0, False)] * 10, step=60) == pytest.approx(10 * LATE)


def test_a_kernel_that_waits_for_us_is_not_charged():
    assert charged([(0, False)] * 40, we_work=True) == 0


def test_what_ended_processes_used_is_counted_once():
    """Between its end and its parent's word about it, a child's time is nowhere."""
    assert charged([(5, True), (1, True), (5, True), (6, True)]) == pytest.approx(6)


def test_without_proc_it_is_wall_time():
    assert charged([(0, True)] * 40, use_wall=True) == pytest.approx(10)


def test_a_tree_is_looked_at_with_all_its_children():
    code = (
        "import subprocess, sys, time\n"
        "burn = 'import time\\nwhile time.process_time() < 0.5: pass'\n"
        "subprocess.run([sys.executable, '-c', burn])\n"
        "print('ready', flush=True)\ninput()\nwhile True: pass"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as run:
        try:
            run.stdout.readline()
            process = psutil.Process(run.pid)
            until(lambda: not use_of(process).wanted)  # it waits for input
            before = use_of(process).processor
            assert before >= 0.5 and use_of(process).tasks == 1 and use_of(process).memory
            run.stdin.write("\n")
            run.stdin.flush()
            until(lambda: use_of(process).wanted and use_of(process).processor > before + 0.1)
        finally:
            run.kill()
        run.wait()
        assert use_of(process) is None


def test_the_watch_interrupts_by_the_clock_and_not_by_the_wall(monkeypatch):
    """A cell that waits a hundred times its limit in the run queue goes on; one that worked for as
    long as it may is stopped."""
    uses = iter([Use(processor=0.0, wanted=True)] * 8 + [Use(processor=5.0, wanted=True)] * 100)
    used: list[Use] = []

    def use(*about):
        used.append(next(uses))
        return used[-1]

    monkeypatch.setattr("labsupport.grading.running.limits.use_of", use)
    client = SimpleNamespace(limits=RunLimits(), km=None, kc=None, end=lambda death: None)
    stopped = []
    with Watch(client, 600) as watch:
        watch.expect(0.02, lambda: stopped.append(len(used)))
        until(lambda: stopped)
        time.sleep(2 * LOOK_SECONDS)
    assert stopped == [9]  # once, at the first look that saw work


COMPILED = """
import os, torch
@torch.compile
def f(x):
    return torch.sin(x) + x.cumsum(0)
x = torch.arange(5.0)
print(torch.equal(f(x), torch.sin(x) + x.cumsum(0)), os.times().children_user)
"""


@pytest.mark.parametrize("kind", ["local", pytest.param("sandbox", marks=needs_bubblewrap)])
def test_a_compiled_function_runs_as_it_is(kind, sandbox):
    """No compiler is started: it would take as long as it takes, where there is one."""
    notebook = new_notebook(cells=[new_code_cell(COMPILED)])
    done = execute(notebook, None, RunLimits(), sandbox if kind == "sandbox" else None)
    (output,) = done.notebook.cells[0].outputs
    assert output.text == "True 0.0\n"


def graded(stopped: list[int]) -> str:
    return json.dumps({"metadata": {"labsupport_grading": {"stopped": stopped}}})


def log_and_grade(task, *about):
    """In a worker: says when it began and ended; "slow" is stopped the first time, "failing"
    always fails."""
    name = task.seed
    with open(task.submitted, "a") as log:
        log.write(f"begin {name}\n")
    time.sleep(0.3)
    with open(task.submitted) as log:
        tries = log.read().count(f"begin {name}\n")
    with open(task.submitted, "a") as log:
        log.write(f"end {name}\n")
    if name == "failing":
        raise SandboxError("it does not start")
    return graded([3] if name == "slow" and tries == 1 else [])


def test_what_took_too_long_or_failed_is_tried_again_alone(tmp_path, mini_path, monkeypatch):
    monkeypatch.setattr(fanout, "_on_worker", log_and_grade)
    log = tmp_path / "log"
    names = ["slow", "failing", *(f"other-{i}" for i in range(4))]
    lab = mini_path.read_text(encoding="utf-8")
    todo = [(name, GradingTask(STEM, lab, str(log), name)) for name in names]
    outcomes = list(fanout.perform_all(todo, 2))
    lines = log.read_text().split("\n")[:-1]
    assert sorted(name for name, _ in outcomes) == sorted(names)
    assert {name for name, _ in outcomes[-2:]} == {"slow", "failing"}  # after the others
    results = dict(outcomes)
    assert results["slow"] == graded([])  # the second time is the one that counts
    assert isinstance(results["failing"], SandboxError)
    assert lines.count("begin slow") == 2 and lines.count("begin other-0") == 1
    alone = lines[-6:]  # "failing" is tried twice, as before
    assert sorted({line.split()[1] for line in alone}) == ["failing", "slow"]
    for begin, end in zip(alone[::2], alone[1::2], strict=True):  # nobody beside it
        assert begin.split()[0] == "begin" and end == begin.replace("begin", "end")


@needs_bubblewrap
def test_a_loop_without_end_is_still_a_timeout(mini_path):
    """With its place in what the worker tells, so that it is tried again alone."""
    (task,) = (t for t in tasks(mini_path) if t.seed.endswith("/crash"))
    endless = task.submitted.replace("import os; os._exit(1)", "while True: pass")
    assert endless != task.submitted
    about = {"stem": STEM, "lab": task.lab, "seed": task.seed, "cell_seconds": 2}
    result = perform(GradingTask(submitted=endless, **about))
    told = json.loads(result)["metadata"]["labsupport_grading"]
    assert [v["status"] for v in told["verdicts"]] == ["passed", "timeout"]
    assert told["stopped"]


@needs_bubblewrap
def test_a_kernel_that_is_killed_from_outside_is_nobodys_failure(sandbox, monkeypatch):
    """As when memory runs out; again and again, so that a second look does not help."""
    execute_cell, victims = LimitedClient.execute_cell, []

    def killed(client, *about):
        victims.append(kernel_process(client.km))
        victims[-1].kill()
        return execute_cell(client, *about)

    monkeypatch.setattr(LimitedClient, "execute_cell", killed)
    with pytest.raises(SandboxError, match="killed from outside: is there memory left"):
        execute(new_notebook(cells=[new_code_cell("print(1)")]), None, None, sandbox)
    assert len(victims) == 2


@needs_bubblewrap
def test_a_kernel_cannot_look_as_if_it_was_killed_from_outside(sandbox):
    """The first process of its process namespace: a signal of its own does not reach it."""
    suicide = "import os, signal; os.kill(os.getpid(), signal.SIGKILL); print('alive')"
    abort = "import os, signal; os.abort()"
    done = execute(
        new_notebook(cells=[new_code_cell(suicide), new_code_cell(abort)]), None, None, sandbox
    )
    assert done.notebook.cells[0].outputs[0].text == "alive\n"
    assert done.deaths == {1: DIED}
