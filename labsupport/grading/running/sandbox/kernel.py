"""One kernel that a warm process has forked, held from outside."""

import contextlib
import os
import select
import shutil
import signal
import socket
from pathlib import Path

import psutil

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

    def kill(self) -> None:
        """Kill it, and with it every process it started."""
        self.signal(signal.SIGKILL)  # they are in its process namespace

    def end(self) -> None:
        """Kill it where it lives, and remove its sockets."""
        self.kill()
        select.select([self._descriptor], [], [], 5)
        os.close(self._descriptor)
        self._control.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class FreeKernel(JailedKernel):
    """One kernel without a jail: the first process of its session and of a group."""

    def killed(self) -> bool:
        return False  # its own code could do that too, and nobody would know

    def kill(self) -> None:
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.alive():
                children = psutil.Process(self.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # it may be gone, and others of its group not
        self.signal(signal.SIGKILL)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
