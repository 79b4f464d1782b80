"""Jail of one kernel, inside the sandbox: a freshly forked process is shut into it.

bubblewrap has already taken away network, files and the outside's processes from the whole
sandbox; this keeps two kernels of one sandbox from each other, and limits each. It speaks to the
kernel through libc, for Python offers unshare only from 3.12 on and mount not at all.
"""

import ctypes
import os
import resource
import signal
from dataclasses import dataclass

from labsupport.grading.running.sandbox.syscalls import refuse_system_calls

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
SOCKETS = "/run/kernel"  # where a kernel finds its own sockets
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
_CAPABILITY_VERSION_3 = 0x20080522
MIB = 1024 * 1024


@dataclass
class KernelLimits:
    """What one kernel may use."""

    memory_mb: int = 2500  # on top of what the libraries take
    scratch_mb: int = 256  # files in its own folder, which is in memory too
    processes: int = 64
    open_files: int = 256


def own_namespaces() -> None:
    """New user, mount, process, IPC, network and host-name namespaces for this process's child.

    The process must have one thread. Raises OSError.
    """
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS
    _call(_libc.unshare(flags), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"1000 {uid} 1")  # not root inside: exec must gain nothing
    _write("/proc/self/gid_map", f"1000 {gid} 1")


def own_files(sockets: str, run: str, limits: KernelLimits) -> None:
    """A private /tmp of limited size, terminals of its own, and only this kernel's sockets."""
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount(sockets, SOCKETS, None, MS_BIND)
    _mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=620")
    _tmpfs(run, 1)
    shown = _mounts_below("/tmp")
    _tmpfs("/tmp", limits.scratch_mb)
    for path, descriptor in shown:  # the environment may itself be somewhere in /tmp
        os.makedirs(path)
        _mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
        os.close(descriptor)
    _tmpfs("/dev/shm", limits.scratch_mb)
    os.mkdir("/tmp/work")
    os.chdir("/tmp/work")


def _mounts_below(place: str) -> list[tuple[str, int]]:
    """The folders mounted below a place, outermost only, each held by a descriptor."""
    with open("/proc/self/mountinfo") as file:
        found = sorted({line.split()[4] for line in file}, key=len)
    outer: list[str] = []
    for path in found:
        if path.startswith(f"{place}/") and not path.startswith(tuple(f"{p}/" for p in outer)):
            outer.append(path)
    return [(path, os.open(path, os.O_PATH)) for path in outer]


def seal_sockets() -> None:
    """The sockets' folder lies on the outside's disk: once they are bound, nothing more goes in."""
    flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
    _mount("none", SOCKETS, None, flags)


def own_limits(limits: KernelLimits) -> None:
    """Resource limits, then no capabilities, no way to new ones, and fewer system calls."""
    own_resources(limits)
    _limit(resource.RLIMIT_NPROC, limits.processes)
    _call(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    refuse_system_calls()


def own_resources(limits: KernelLimits) -> None:
    """Resource limits that need no namespace: that of processes would count all of the user's."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, taken + limits.memory_mb * MIB)
    _limit(resource.RLIMIT_NOFILE, limits.open_files)
    _limit(resource.RLIMIT_FSIZE, limits.scratch_mb * MIB)
    _limit(resource.RLIMIT_CORE, 0)


def end_with(parent: int) -> None:
    """Have this process killed when its parent ends, which may have happened already."""
    _call(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(1)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:  # it may be less already
        most = min(most, hard)
    resource.setrlimit(what, (most, most))


def _tmpfs(place: str, megabytes: int) -> None:
    _mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, f"size={megabytes}m,nr_inodes=10k")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [w.encode() if w is not None else None for w in (source, target, kind)]
    _call(
        _libc.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None),
        f"mount {target}",
    )


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
