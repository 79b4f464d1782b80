"""Process inside the sandbox that has imported what a lab needs, and forks a kernel on demand.

Importing torch takes seconds and a fork takes milliseconds. What the zygote does before a fork
is in ``warmup``. Where there is no sandbox it does the same, and its kernels have no jail.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from functools import partial
from pathlib import Path

from labsupport.grading.running.sandbox.jail import (
    SOCKETS,
    KernelLimits,
    end_with,
    own_files,
    own_limits,
    own_namespaces,
    own_resources,
    seal_sockets,
)
from labsupport.grading.running.sandbox.warmup import LATER, StartedThread, warm_further, warm_up

CONTROL = "zygote.sock"
IDLE_SECONDS = 0.3  # without a request, after the first, for what is warmed later
FREE = "--free"  # and a process that it ends with, first: no sandbox, kernels without a jail


def main(run: str, arguments: list[str]) -> None:
    """Serve requests, one JSON object a connection: ``{"id", "connection", "limits", "workdir"}``.

    ``arguments`` are what this lab's kernels import, after ``FREE`` and the process that starts
    this one where there is no sandbox; what starts a thread is left to the kernels."""
    first = 2 if arguments[:1] == [FREE] else 0
    imported = arguments[first:]
    become_kernel = _enter
    if first:
        end_with(int(arguments[1]))
        sys.path[:] = [path for path in sys.path if path != run]  # -m put it there
        become_kernel = partial(_enter_free, os.getpid())
    try:
        warm_up(imported)
    except StartedThread as error:
        if error.name not in imported:
            raise
        print(f"zygote: {error}", file=sys.stderr, flush=True)
        rest = [name for name in imported if name != error.name]
        os.execv(
            sys.executable, [sys.executable, "-m", __spec__.name, run, *arguments[:first], *rest]
        )
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{run}/{CONTROL}")
    server.listen(16)
    later, forked = list(LATER), False
    while True:
        if later and forked and not select.select([server], [], [], IDLE_SECONDS)[0]:
            warm_further(later.pop(0))
            continue
        client, _ = server.accept()
        line = client.makefile().readline()
        if line and os.fork() == 0:
            server.close()
            become_kernel(json.loads(line), run, client)
        forked = forked or bool(line)
        client.close()


def _enter(request: dict, run: str, client: socket.socket) -> None:
    """Become a kernel in a jail; never returns. Its doorkeeper tells ``client`` how it ended."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        own_namespaces()
        inner, outer = socket.socketpair()
        if os.fork() != 0:  # the first process of a new process namespace is its creator's child
            inner.close()
            _keep_door(outer, client)
        outer.close()
        client.close()
        limits = KernelLimits(**request["limits"])
        own_files(f"{run}/{request['id']}", run, limits)
        connection = Path(f"{SOCKETS}/connection.json")
        connection.write_text(json.dumps(request["connection"]))
        _say_ready(f"{SOCKETS}/ready.sock")
        own_limits(limits)
        _kernel(str(connection), inner)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _enter_free(zygote: int, request: dict, run: str, client: socket.socket) -> None:
    """Become a kernel without a jail, in a session of its own; never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        end_with(zygote)
        os.setsid()
        client.close()
        os.chdir(request["workdir"])
        connection = Path(run, request["id"], "connection.json")
        connection.write_text(json.dumps(request["connection"]))
        _say_ready(f"{run}/{request['id']}/ready.sock")
        own_resources(KernelLimits(**request["limits"]))
        _kernel(str(connection), None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _say_ready(path: str) -> None:
    # by connecting from here, the outside learns our process id as it sees it
    with socket.socket(socket.AF_UNIX) as ready:
        ready.connect(path)
        ready.sendall(b"ready")
        ready.recv(1)  # until the outside holds on to us


def _keep_door(door: socket.socket, client: socket.socket) -> None:
    """Keep the right to mount, which the kernel gives up: when told that its sockets are bound,
    make their folder read-only and say so; then wait for the kernel's end, and say how it was."""
    with contextlib.suppress(OSError):
        if door.recv(1):
            seal_sockets()
            door.sendall(b"1")
    door.close()
    _, status = os.wait()
    with contextlib.suppress(OSError):
        client.sendall(str(status).encode())
    os._exit(0)


def _seal(door: socket.socket | None) -> None:
    if door is None:
        return
    door.sendall(b"1")
    if not door.recv(1):
        raise OSError("the sockets' folder could not be made read-only")
    door.close()


def _kernel(connection_file: str, door: socket.socket | None) -> None:
    from ipykernel.kernelapp import IPKernelApp

    # standard error is a file outside, which all kernels share: it must not come in
    quiet = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(quiet, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # a batch system may block it
    app = IPKernelApp.instance()
    app.initialize(["-f", connection_file, "--HistoryManager.hist_file=:memory:"])
    _seal(door)
    app.start()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
