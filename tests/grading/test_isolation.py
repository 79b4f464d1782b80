"""Two kernels of one warm sandbox share nothing that either could write."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from small_class import until

from labsupport.grading.running.run import execute

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing")

LEAVE = """
import os, socket, subprocess, sys, time, multiprocessing.shared_memory as shared, torch
for folder in ("/tmp", "/tmp/work", "/dev/shm", "/var/tmp", "/run", "/run/kernel", "/home", "/"):
    try:
        open(f"{folder}/mark-7319", "w").close()
    except OSError:
        pass
os.environ["MARK_7319"] = torch.mark_7319 = "x"
torch.manual_seed(7319)
block = shared.SharedMemory("mark-7319-block", create=True, size=64)
door = socket.socket(socket.AF_UNIX)
door.bind("\\0mark-7319")
door.listen()
web = socket.create_server(("127.0.0.1", 7319))
subprocess.Popen(["sleep", "7319"])
print("left")
"""

LOOK = """
import glob, json, os, socket, torch
def reach(kind, place):
    try:
        with socket.socket(kind) as door:
            door.settimeout(2)
            door.connect(place)
        return True
    except OSError:
        return False
def may_read(path):
    try:
        return bool(open(path).read())
    except OSError:
        return False
sleeping = [p for p in os.listdir("/proc") if p.isdigit()
            and open(f"/proc/{p}/cmdline").read() == "sleep\\0" "7319\\0"]
print(json.dumps({
    "files": [p for f in ("/tmp", "/tmp/work", "/dev/shm", "/var/tmp", "/run", "/run/kernel",
                          "/home", "") for p in glob.glob(f"{f}/mark-7319*")],
    "environment": "MARK_7319" in os.environ, "module": hasattr(torch, "mark_7319"),
    "seed": torch.initial_seed() == 7319,
    "abstract socket": reach(socket.AF_UNIX, "\\0mark-7319"),
    "loopback": reach(socket.AF_INET, ("127.0.0.1", 7319)),
    "sleep": bool(sleeping), "memory": any(may_read(f"/proc/{p}/environ") for p in sleeping),
    "zygote": [p for f in ("/run/labs", "/run") for p in glob.glob(f"{f}/**/zygote.sock")]
              or reach(socket.AF_UNIX, "/run/labs/zygote.sock"),
}))
"""


def output(source: str, sandbox) -> str:
    done = execute(
        new_notebook(cells=[new_code_cell(s) for s in source.split("# %%")]), sandbox=sandbox
    )
    assert not done.deaths, done.deaths
    return "".join(
        o.get("text", o.get("evalue", "")) for c in done.notebook.cells for o in c.outputs
    )


def test_what_one_leaves_another_does_not_find(sandbox):
    """Neither one that comes after it, nor one that runs at the same time."""
    waiting = LEAVE + "\nsys.stdout.flush()\ntime.sleep(12)\nprint('slept')"
    told = []
    thread = threading.Thread(target=lambda: told.append(output(waiting, sandbox)))
    thread.start()
    # through info: a zombie that another test has left has no command line to ask for
    until(
        lambda: [
            p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "7319"]
        ]
    )
    beside = json.loads(output(LOOK, sandbox))
    assert thread.is_alive()
    thread.join()
    assert told == ["left\nslept\n"]
    after = json.loads(output(LOOK, sandbox))
    nothing = {
        "files": [],
        "environment": False,
        "module": False,
        "seed": False,
        "abstract socket": False,
        "loopback": False,
        "sleep": False,
        "memory": False,
        "zygote": False,
    }
    assert after == nothing
    # The process table is the sandbox's: names are seen by one that runs at the same time. No two
    # do so when a class is graded, for a worker grades one submission after the other.
    assert beside == nothing | {"sleep": True}
    # and the look would have found them: in the kernel that left them they are there
    own = json.loads(output(LEAVE + "# %%" + LOOK, sandbox).split("left\n")[1])
    found = nothing | {
        "environment": True,
        "module": True,
        "seed": True,
        "sleep": True,
        "memory": True,
        "abstract socket": True,
    }  # its network has not even a loopback
    assert {k: v for k, v in own.items() if k != "files"} == {
        k: v for k, v in found.items() if k != "files"
    }
    assert {"/tmp/mark-7319", "/tmp/work/mark-7319", "/dev/shm/mark-7319"} <= set(own["files"])


def test_the_outside_is_not_there(sandbox, root, tmp_path):
    (tmp_path / "gradebook.db").write_text("grades")
    look = f"""
import json, os
print(json.dumps([
    os.path.exists({str(root / "solutions")!r}), os.path.exists({str(tmp_path)!r}),
    os.path.exists({str(sandbox.run)!r}), os.listdir("/home"), os.path.exists("/root/.ssh"),
    [v for v in os.environ.values() if {os.environ.get("USER", "nobody-7319")!r} == v],
]))"""
    assert json.loads(output(look, sandbox)) == [False, False, False, [], False, []]


def test_the_long_runs_are_hidden_and_nothing_can_be_left_where_something_is(sandbox, root):
    assert list((root / "labsupport" / "experiments").glob("lab*/*.py"))
    look = """
import json, labsupport, os
from importlib.util import find_spec
from pathlib import Path
package = Path(labsupport.__file__).parent
hidden = [package / "experiments", package / "models" / "__pycache__",
          Path(os.environ["LABSUPPORT_DATA"]) / "checks"]  # with right earlier exercises in it
def may_leave(folder):
    try:
        (folder / "left").touch()
        return True
    except OSError:
        return False
print(json.dumps([[os.listdir(f) for f in hidden], [may_leave(f) for f in hidden],
                  find_spec("labsupport.experiments.record") is None]))"""
    assert json.loads(output(look, sandbox)) == [[[], [], []], [False] * 3, True]


def test_the_long_runs_are_hidden_in_an_installed_package_too(root, tmp_path):
    """As a wheel has it: the package in a folder of its own, no checkout around it."""
    shutil.copytree(
        root / "labsupport", tmp_path / "labsupport", ignore=shutil.ignore_patterns("__pycache__")
    )
    look = """
import subprocess, sys
from pathlib import Path
import labsupport
from labsupport.grading.running.sandbox.visible import command
package, inside = Path(labsupport.__file__).parent, "import os, sys; print(os.listdir(sys.argv[1]))"
words = command(Path.cwd(), [])
words = [*words[: words.index(sys.executable)], sys.executable, "-c", inside]
for folder in ("", "experiments"):
    print(subprocess.check_output([*words, package / folder], text=True))
assert package.parent == Path.cwd()"""
    about = os.environ | {"PYTHONPATH": str(tmp_path), "LABSUPPORT_DATA": str(root / "data")}
    words = [sys.executable, "-c", look]
    package, runs = subprocess.check_output(words, env=about, cwd=tmp_path, text=True).split(
        "\n\n"
    )[:2]
    assert "'models'" in package and runs == "[]"


def test_an_import_that_starts_a_thread_is_left_to_the_kernels(tmp_path):
    (tmp_path / "threaded.py").write_text(
        "from threading import Thread, Event\nThread(target=Event().wait, daemon=True).start()"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    warm = subprocess.Popen(
        [sys.executable, "-m", "labsupport.grading.running.sandbox.zygote", str(tmp_path)]
        + ["json", "threaded"],
        env=environment | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until((tmp_path / "zygote.sock").exists)
        assert psutil.Process(warm.pid).cmdline()[-1] == "json"
        assert psutil.Process(warm.pid).num_threads() == 1
    finally:
        warm.kill()
    assert "threads after threaded" in warm.communicate()[1]
