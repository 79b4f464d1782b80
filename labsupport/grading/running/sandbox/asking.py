"""A warm process from outside: ask it for kernels, see whether it is still there."""

import contextlib
import json
import os
import select
import socket
import struct
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from labsupport.errors import SandboxError
from labsupport.grading.running.clock import LOOK_SECONDS, Clock
from labsupport.grading.running.sandbox.jail import KernelLimits
from labsupport.grading.running.sandbox.kernel import FreeKernel, JailedKernel
from labsupport.grading.running.sandbox.zygote import CONTROL
from labsupport.grading.running.tree import use_of

# On a clock that load does not move: for the warm process's imports, for a fork in it.
START_SECONDS, KERNEL_SECONDS = 120, 10


@dataclass(frozen=True)
class Place:
    """Where a warm process of this machine is: the folder of its sockets, the process with which
    it ends, and whether kernels from there are jailed."""

    run: str
    pid: int
    walled: bool = True


class KernelSource:
    """Asks the warm process at a ``place`` for kernels. Any process of this user's may."""

    def __init__(self, place: Place, limits: KernelLimits | None = None):
        self.place = place
        self.walled = place.walled
        self.limits = limits or KernelLimits()
        self.run = Path(place.run)
        try:
            self._descriptor: int | None = os.pidfd_open(place.pid)
        except ProcessLookupError:
            self._descriptor = None

    def close(self) -> None:
        """Ask it for nothing more; it may go on."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def alive(self) -> bool:
        return self._descriptor is not None and not select.select([self._descriptor], [], [], 0)[0]

    def lost(self) -> bool:
        """Whether its warm process is gone, and every kernel with it. bubblewrap's own process
        ends a moment later, so ``alive`` is no answer when a kernel has just died."""
        if not self.alive():
            return True
        with socket.socket(socket.AF_UNIX) as control:
            try:
                control.connect(str(self.run / CONTROL))
            except FileNotFoundError:
                return False  # it is still starting
            except OSError:
                return True
        return False

    def new_folder(self) -> Path:
        """A fresh folder for one kernel's sockets."""
        folder = self.run / uuid.uuid4().hex[:12]
        folder.mkdir(mode=0o700)
        return folder

    def kernel(self, folder: Path, connection: dict, workdir: str = "") -> JailedKernel:
        """Fork a kernel that listens as ``connection`` says, with its sockets in ``folder``. One
        without a jail works in ``workdir``, a jailed one in a folder of its jail's.

        Raises SandboxError where the warm process does not answer.
        """
        sockets = "/run/kernel/s" if self.walled else str(folder / "s")
        inside = connection | {"ip": sockets, "transport": "ipc"}
        request = {
            "id": folder.name,
            "connection": inside,
            "limits": asdict(self.limits),
            "workdir": workdir,
        }
        control = self._control()
        try:
            with socket.socket(socket.AF_UNIX) as ready:
                ready.bind(str(folder / "ready.sock"))
                ready.listen(1)
                control.sendall(json.dumps(request).encode() + b"\n")
                client = self._wait_for(ready)
                with client:
                    raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                    kind = JailedKernel if self.walled else FreeKernel
                    kernel = kind(folder, struct.unpack("3i", raw)[0], control)
                    client.recv(5)
                    client.sendall(b"1")
        except BaseException:
            control.close()
            raise
        return kernel

    def _wait_for(self, ready: socket.socket) -> socket.socket:
        ready.settimeout(LOOK_SECONDS)
        clock = Clock()
        while clock.seconds < KERNEL_SECONDS and self.alive():
            with contextlib.suppress(TimeoutError):
                client, _ = ready.accept()
                client.settimeout(None)
                return client
            self._look(clock)
        raise SandboxError(f"the sandbox made no kernel: {self._said()}")

    def _control(self) -> socket.socket:
        """A connection to the zygote; waits for its imports the first time."""
        clock = Clock()
        while clock.seconds < START_SECONDS:
            if not self.alive():
                raise SandboxError(f"the sandbox did not start: {self._said()}")
            control = socket.socket(socket.AF_UNIX)
            try:
                control.connect(str(self.run / CONTROL))
                return control
            except (FileNotFoundError, ConnectionRefusedError):
                control.close()
                time.sleep(0.02)
                self._look(clock)
        raise SandboxError(f"the sandbox did not start in {START_SECONDS} s: {self._said()}")

    def _look(self, clock: Clock) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if clock.due():
                clock.look(use_of(psutil.Process(self.place.pid)))

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            lines = log_of(self.run).read_text(errors="replace").strip().splitlines()
            return lines[-1][:300] if lines else "it said nothing"
        return "it said nothing"


def log_of(run: Path) -> Path:
    """The file of what a warm process says."""
    return run.parent / f"{run.name}.log"
