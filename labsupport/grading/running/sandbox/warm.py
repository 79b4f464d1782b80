"""Warm sandboxes, from outside: start one, ask it for kernels, hold on to them, end them."""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from labsupport.errors import SandboxError
from labsupport.grading.running.clock import LOOK_SECONDS, Clock
from labsupport.grading.running.sandbox.jail import KernelLimits
from labsupport.grading.running.sandbox.visible import command
from labsupport.grading.running.sandbox.zygote import CONTROL
from labsupport.grading.running.scratch import at_end, scratch
from labsupport.grading.running.tree import use_of

# On a clock that load does not move: for the sandbox's imports, for a fork in it.
START_SECONDS, KERNEL_SECONDS = 120, 10
SAID_SECONDS = 60  # for a doorkeeper's word, which comes at once


class JailedKernel:
    """One kernel in its jail, held by a descriptor that no other process can take over."""

    def __init__(self, folder: Path, pid: int, control: socket.socket):
        self.folder = folder
        self.pid = pid
        self._control = control  # its doorkeeper's word comes here
        self._descriptor = os.pidfd_open(pid)

    def alive(self) -> bool:
        return not select.select([self._descriptor], [], [], 0)[0]

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def killed(self) -> bool:
        """Whether it was killed, and not by anything that runs in it: the first process of its
        process namespace cannot be, and its doorkeeper is out of its reach."""
        if self.alive():
            return False
        self._control.settimeout(SAID_SECONDS)
        with contextlib.suppress(TimeoutError):
            try:
                status = self._control.recv(16)
            except OSError:
                status = b""
            return not status or os.WTERMSIG(int(status)) == signal.SIGKILL
        return False

    def end(self) -> None:
        """Kill it, and with it every process it started, and remove its sockets."""
        self.signal(signal.SIGKILL)
        select.select([self._descriptor], [], [], 5)
        os.close(self._descriptor)
        self._control.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class WarmSandbox:
    """A sandbox with a warm process in it. Use as a context manager, or call ``close``.

    ``masked`` as ``visible.command`` takes it; ``imported`` are what the warm process imports
    besides what every kernel needs, with dots ("torch.nn.functional").
    """

    def __init__(
        self,
        masked: list[str] | None = None,
        limits: KernelLimits | None = None,
        imported: Sequence[str] = (),
    ):
        self.limits = limits or KernelLimits()
        self.run = Path(tempfile.mkdtemp(prefix="box-", dir=scratch()))
        self._errors = (self.run.parent / f"{self.run.name}.log").open("wb+")
        self._process = subprocess.Popen(
            command(self.run, masked or [], arguments=imported),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        self._at_end = at_end(self.close, priority=1)

    def __enter__(self) -> "WarmSandbox":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def alive(self) -> bool:
        return self._process.poll() is None

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

    def close(self) -> None:
        self._at_end.cancel()
        self._process.kill()
        self._process.wait()
        self._errors.close()
        shutil.rmtree(self.run, ignore_errors=True)
        Path(self._errors.name).unlink(missing_ok=True)

    def new_folder(self) -> Path:
        """A fresh folder for one kernel's sockets."""
        folder = self.run / uuid.uuid4().hex[:12]
        folder.mkdir(mode=0o700)
        return folder

    def kernel(self, folder: Path, connection: dict) -> JailedKernel:
        """Fork a kernel that listens as ``connection`` says, with its sockets in ``folder``.

        Raises SandboxError where the sandbox does not answer.
        """
        inside = connection | {"ip": "/run/kernel/s", "transport": "ipc"}
        request = {"id": folder.name, "connection": inside, "limits": asdict(self.limits)}
        control = self._control()
        try:
            with socket.socket(socket.AF_UNIX) as ready:
                ready.bind(str(folder / "ready.sock"))
                ready.listen(1)
                control.sendall(json.dumps(request).encode() + b"\n")
                client = self._wait_for(ready)
                with client:
                    raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                    kernel = JailedKernel(folder, struct.unpack("3i", raw)[0], control)
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
                clock.look(use_of(psutil.Process(self._process.pid)))

    def _said(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"
