"""View from inside a sandbox: the Python environment, read-only, nothing of the instructor's."""

import contextlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import labsupport
from labsupport.errors import SandboxError
from labsupport.files import data_root

RUN = "/run/labs"  # where the sandbox finds the grader's sockets
ZYGOTE = "labsupport.grading.running.sandbox.zygote"
INSTALL = "install it (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"
# Environment variables that a kernel may know; all others, tokens among them, stay outside.
PASSED_ON = ("LANG", "LC_ALL", "TZ", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
# `torch.compile` gives the function as it is. Compiling works where there is a C++ compiler, takes
# processor time that is not the student's, and gives the same numbers but for the last digits.
UNCOMPILED = {"TORCHDYNAMO_DISABLE": "1"}
# How a kernel works, sandboxed or not, so that grades are the same.
ALONE = {
    # read when matplotlib is imported, which is before there is a kernel to set it
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # one thread a kernel: workers share the cores, and sums come out the same on any machine
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
# Folders of the package that no notebook uses and that hold what labs ask for, whatever the lab.
NEVER_SEEN = ("experiments",)


def bubblewrap() -> str:
    """The path of bwrap. Raises SandboxError with the install line where it is missing."""
    found = shutil.which("bwrap")
    if not found:
        raise SandboxError(
            f"bubblewrap is missing, and without it submissions are not run: {INSTALL}, "
            "or accept the risk with --no-sandbox"
        )
    return found


def command(
    run: Path, masked: list[str], module: str = ZYGOTE, arguments: Sequence[str] = ()
) -> list[str]:
    """The bwrap command line of a sandbox whose sockets are in the folder ``run``.

    ``masked`` are module files (relative to the package) that read as empty inside: the
    reference models of the lab that is being graded. ``module`` is what runs inside, with the
    place of the sockets and ``arguments``. The long runs' folder is empty inside, and so are the
    examples of visible checks, whose drivers hold right earlier exercises; the audit, which runs
    checks and no students' code, has them in a sandbox of its ``module``.
    """
    words = [
        bubblewrap(),
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--hostname",
        "lab",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--tmpfs",
        "/run",
        "--tmpfs",
        "/home",
    ]
    for path in _read_only():
        words += ["--ro-bind", path, path]
    package = Path(labsupport.__file__).parent
    for name in masked:
        words += ["--ro-bind", "/dev/null", str(package / name)]
    hidden = _hidden(package, masked, module == ZYGOTE)
    for path in hidden:
        words += ["--tmpfs", path]
    # Kernel settings are writable for root, even for a root without any capability.
    words += ["--ro-bind", "/proc/sys", "/proc/sys"]
    if os.path.exists("/proc/sysrq-trigger"):
        words += ["--ro-bind", "/dev/null", "/proc/sysrq-trigger"]
    words += ["--bind", str(run), RUN, "--dir", "/run/kernel", "--chdir", "/tmp"]
    # What bubblewrap itself makes is writable and common to all kernels of this sandbox: one
    # submission could leave a file there for the next (a start-up script of IPython's, say).
    for path in ("/", "/home", "/run", "/dev", *hidden):
        words += ["--remount-ro", path]
    for key, value in _environment().items():
        words += ["--setenv", key, value]
    return [*words, sys.executable, "-m", module, RUN, *arguments]


def _hidden(package: Path, masked: list[str], graded: bool) -> list[str]:
    """Folders inside the visible ones that hold other people's work, the long runs, examples of
    checks, or a masked module's byte code, from which its source is as good as read."""
    caches = {str((package / name).parent / "__pycache__") for name in masked}
    for cache in caches:
        with contextlib.suppress(OSError):  # what cannot be written will not come to be later
            os.makedirs(cache, exist_ok=True)
    never = [str(package / name) for name in NEVER_SEEN]
    if graded:
        never.append(str(data_root() / "checks"))
    exchanges = ["/usr/local/share/nbgrader", "/usr/share/nbgrader"]
    exchanges += [str(Path(sys.prefix) / "share" / "nbgrader")]
    return sorted(path for path in {*caches, *exchanges, *never} if os.path.isdir(path))


def _read_only() -> list[str]:
    """Folders a Python process needs, outermost first, without those inside another."""
    wanted = [
        "/usr",
        "/lib",
        "/lib64",
        "/bin",
        "/sbin",
        "/etc/ld.so.cache",
        "/etc/fonts",
        "/etc/alternatives",
        "/etc/ssl",
        "/etc/localtime",
    ]
    wanted += [sys.prefix, sys.base_prefix, sysconfig.get_paths()["purelib"]]
    wanted += [str(Path(labsupport.__file__).parent), str(data_root())]
    found = sorted({os.path.abspath(p) for p in wanted if os.path.exists(p)}, key=len)
    kept: list[str] = []
    for path in found:
        if not any(path == k or path.startswith(k + "/") for k in kept):
            kept.append(path)
    return kept


def _environment() -> dict[str, str]:
    known = {k: os.environ[k] for k in PASSED_ON if k in os.environ}
    # The package may be installed in place, where its parent folder, with the solutions in it,
    # is not visible; the path names the package's parent, of which only the package is there.
    parent = str(Path(labsupport.__file__).parents[1])
    return {
        **known,
        **UNCOMPILED,
        **ALONE,
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "PYTHONPATH": parent,
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        "LABSUPPORT_DATA": str(data_root()),
    }
