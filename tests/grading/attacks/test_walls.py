"""What the sandbox promises, each promise looked at from inside."""

import json
import os
import resource
import sys
from pathlib import Path

import pytest
from conftest import SECRET
from nbformat.v4 import new_code_cell, new_notebook

import labsupport
from labsupport.grading.running.limits import RunLimits
from labsupport.grading.running.run import execute

LOOK = """
import json, os, resource, socket, sys
from pathlib import Path
def size(place):
    about = os.statvfs(place)
    return about.f_blocks * about.f_frsize >> 20
def read(place):
    try: return Path(place).read_bytes().decode()
    except OSError: return ""
def writable(place):
    try: (Path(place) / "x").write_text("x")
    except OSError: return False
    return True
ns = ("pid", "ipc", "mnt", "net", "user", "uts")
print(json.dumps({
    "namespaces": {n: os.readlink(f"/proc/self/ns/{n}") for n in ns},
    "processes": [int(p) for p in os.listdir("/proc") if p.isdigit()],
    "links": [n for _, n in socket.if_nameindex()],
    "environment": dict(os.environ),
    "writable": [p for p in ("/", "/usr", "/etc", "/home", "/dev", "/run", "/run/kernel", PREFIX,
                             PACKAGE) if writable(p)],
    "sizes": {p: size(p) for p in ("/tmp", "/dev/shm")},
    "home": os.listdir("/home") + (os.listdir("/root") if os.path.exists("/root") else []),
    "beside": os.listdir(os.path.dirname(PACKAGE)),
    "masked": read(Path(PACKAGE, "models", "vit.py")),
    "limits": {n: resource.getrlimit(getattr(resource, "RLIMIT_" + n))
               for n in ("AS", "NPROC", "NOFILE", "FSIZE", "CORE")},
    "capabilities": [l for l in open("/proc/self/status") if l.startswith(("Cap", "NoNew", "Sec"))],
}))
"""


@pytest.fixture(scope="module")
def seen(jail):
    package = str(Path(labsupport.__file__).parent)
    source = f"PREFIX, PACKAGE = {sys.prefix!r}, {package!r}\n{LOOK}"
    done = execute(new_notebook(cells=[new_code_cell(source)]), None, RunLimits(), jail)
    (output,) = done.notebook.cells[0].outputs
    return json.loads(output.text)


def test_own_namespaces_and_no_one_elses_process(seen):
    for name, inside in seen["namespaces"].items():
        assert inside != os.readlink(f"/proc/self/ns/{name}"), name
    # bubblewrap's, the warm one, this kernel and the one that keeps its door
    assert min(seen["processes"]) == 1 and len(seen["processes"]) <= 4


def test_no_network(seen):
    assert seen["links"] == ["lo"]


def test_no_variable_of_the_instructors(seen):
    assert SECRET not in json.dumps(seen["environment"])
    allowed = {
        "PATH",
        "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE",
        "HOME",
        "MPLCONFIGDIR",
        "LANG",
        "MPLBACKEND",
        "LABSUPPORT_DATA",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "LC_ALL",
        "TZ",
        "TORCHDYNAMO_DISABLE",
    }
    own = {n for n in seen["environment"] if not n.startswith(("IPY", "JPY", "PYDEVD", "OPENBLAS"))}
    made_inside = {
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "FORCE_COLOR",
        "GIT_PAGER",
        "PAGER",
        "PWD",
        "TERM",
        "KMP_INIT_AT_FORK",
        "KMP_DUPLICATE_LIB_OK",
        "TORCHINDUCTOR_CACHE_DIR",
        "LC_CTYPE",
        "KINETO_LOG_LEVEL",
    }
    assert own <= allowed | made_inside, own - allowed - made_inside


def test_nothing_can_be_written_but_the_scratch_which_is_limited(seen):
    assert seen["writable"] == []
    assert all(0 < megabytes <= 256 for megabytes in seen["sizes"].values())


def test_no_view_of_the_instructors_files(seen, root):
    assert seen["home"] == [] or seen["home"] == [".pyenv"]  # an interpreter may live there
    assert not {"solutions", "tests", "notebooks", "README.md", ".git"} & set(seen["beside"])
    assert seen["masked"] == ""


def test_limits_and_no_way_to_more(seen):
    limits = {name: hard for name, (_, hard) in seen["limits"].items()}
    assert 0 < limits["AS"] < 16 * 2**30 and limits["NPROC"] <= 64
    assert limits["NOFILE"] <= 256 and limits["FSIZE"] <= 256 * 2**20 and limits["CORE"] == 0
    about = dict(line.split(":\t") for line in seen["capabilities"])
    assert all(int(about[c], 16) == 0 for c in ("CapPrm", "CapEff", "CapInh", "CapAmb"))
    assert about["NoNewPrivs"].strip() == "1" and about["Seccomp"].strip() == "2"
    assert resource.RLIM_INFINITY not in limits.values()
