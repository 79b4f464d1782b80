"""Inside the sandbox: a process that has imported what labs need, and forks a kernel on demand.

Importing torch takes seconds and a fork takes milliseconds. The zygote imports only: it computes
nothing before a fork, so that no thread is lost in one.
"""

import importlib
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from labsupport.grading.sandbox.jail import Limits, own_files, own_limits, own_namespaces

PRELOADED = (
    "numpy", "torch", "torchvision", "einops", "torchmetrics", "safetensors.torch", "tqdm.auto",
    "matplotlib.pyplot", "matplotlib_inline.backend_inline", "ipywidgets", "ipykernel.kernelapp",
    "ipykernel.ipkernel", "IPython.core.completer", "labsupport.respond", "labsupport.data",
    "labsupport.checks", "labsupport.figures", "labsupport.widgets", "labsupport.profiling",
    "labsupport.training", "labsupport.studies",
)
CONTROL = "zygote.sock"


def main(run: str) -> None:
    """Serve requests, one JSON object a connection: ``{"id", "connection", "limits"}``."""
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError as error:  # a kernel that needs it will say so itself
            print(f"zygote: {name}: {error}", file=sys.stderr)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{run}/{CONTROL}")
    server.listen(16)
    while True:
        client, _ = server.accept()
        line = client.makefile().readline()
        if line and os.fork() == 0:
            server.close()
            client.close()
            _enter(json.loads(line), run)
        client.close()


def _enter(request: dict, run: str) -> None:
    """Become a kernel in a jail; never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        own_namespaces()
        if os.fork() != 0:  # the first process of a new process namespace is its creator's child
            os.wait()
            os._exit(0)
        limits = Limits(**request["limits"])
        own_files(f"{run}/{request['id']}", run, limits)
        connection = Path("/run/kernel/connection.json")
        connection.write_text(json.dumps(request["connection"]))
        _say_ready("/run/kernel/ready.sock")
        own_limits(limits)
        _kernel(str(connection))
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


def _kernel(connection_file: str) -> None:
    from ipykernel.kernelapp import IPKernelApp

    quiet = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(quiet, number)
    IPKernelApp.launch_instance(
        argv=["-f", connection_file, "--HistoryManager.hist_file=:memory:"]
    )


if __name__ == "__main__":
    main(sys.argv[1])
