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

from labsupport.errors import SandboxError
from labsupport.grading.running.sandbox.jail import KernelLimits
from labsupport.grading.running.sandbox.visible import command
from labsupport.grading.running.sandbox.zygote import CONTROL
from labsupport.grading.running.scratch import at_end, scratch

START_SECONDS = 120


class JailedKernel:
    """One kernel in its jail, held by a descriptor that no other process can take over."""

    def __init__(self, folder: Path, pid: int):
        self.folder = folder
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def alive(self) -> bool:
        return not select.select([self._descriptor], [], [], 0)[0]

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def end(self) -> None:
        """Kill it, and with it every process it started, and remove its sockets."""
        self.signal(signal.SIGKILL)
        select.select([self._descriptor], [], [], 5)
        os.close(self._descriptor)
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
        with socket.socket(socket.AF_UNIX) as ready, self._control() as control:
            ready.bind(str(folder / "ready.sock"))
            ready.listen(1)
            ready.settimeout(10)
            control.sendall(json.dumps(request).encode() + b"\n")
            try:
                client, _ = ready.accept()
            except TimeoutError:
                raise SandboxError(f"the sandbox made no kernel: {self._said()}") from None
            with client:
                raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                kernel = JailedKernel(folder, struct.unpack("3i", raw)[0])
                client.recv(5)
                client.sendall(b"1")
        return kernel

    def _control(self) -> socket.socket:
        """A connection to the zygote; waits for its imports the first time."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if not self.alive():
                raise SandboxError(f"the sandbox did not start: {self._said()}")
            control = socket.socket(socket.AF_UNIX)
            try:
                control.connect(str(self.run / CONTROL))
                return control
            except (FileNotFoundError, ConnectionRefusedError):
                control.close()
                time.sleep(0.02)
        raise SandboxError(f"the sandbox did not start in {START_SECONDS} s: {self._said()}")

    def _said(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"
