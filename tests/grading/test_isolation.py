"""Two kernels of one warm sandbox share nothing that either could write."""

import json
import os
import shutil
import threading

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
