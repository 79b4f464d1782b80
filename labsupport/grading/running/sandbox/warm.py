"""Warm processes that fork kernels: start one, in a sandbox or without, and end it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from labsupport.grading.running.sandbox.asking import KernelSource, Place, log_of
from labsupport.grading.running.sandbox.jail import KernelLimits
from labsupport.grading.running.sandbox.visible import ALONE, UNCOMPILED, ZYGOTE, command
from labsupport.grading.running.sandbox.zygote import FREE
from labsupport.grading.running.scratch import at_end, scratch


class WarmProcess(KernelSource):
    """A warm process without a sandbox, where bubblewrap is missing: kernels have this process's
    rights and environment, and each is a fork in a folder of its own.

    ``imported`` are what it imports besides what every kernel needs, with dots
    ("torch.nn.functional"). Use as a context manager, or call ``close``. Linux only.
    """

    def __init__(self, limits: KernelLimits | None = None, imported: Sequence[str] = ()):
        # nothing of a sandbox's is in the way of a graphics card, and no fork can use one
        environment = os.environ | UNCOMPILED | ALONE | {"CUDA_VISIBLE_DEVICES": ""}
        run = _new_run()
        words = [sys.executable, "-m", ZYGOTE, str(run), FREE, str(os.getpid()), *imported]
        self._start(run, words, False, limits, environment)

    def _start(
        self,
        run: Path,
        words: list[str],
        walled: bool,
        limits: KernelLimits | None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._errors = log_of(run).open("wb+")
        self._process = subprocess.Popen(
            words,
            env=environment,
            cwd=run,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # a terminal's Ctrl-C is for whoever started this to act on
        )
        super().__init__(Place(str(run), self._process.pid, walled), limits)
        self._at_end = at_end(self.close, priority=1)

    def __enter__(self) -> "WarmProcess":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End it, and every kernel of its."""
        self._at_end.cancel()
        super().close()
        self._process.kill()
        self._process.wait()
        self._errors.close()
        shutil.rmtree(self.run, ignore_errors=True)
        log_of(self.run).unlink(missing_ok=True)


class WarmSandbox(WarmProcess):
    """A sandbox with a warm process in it, whose kernels are jailed. ``masked`` as
    ``visible.command`` takes it."""

    def __init__(
        self,
        masked: list[str] | None = None,
        limits: KernelLimits | None = None,
        imported: Sequence[str] = (),
    ):
        run = _new_run()
        self._start(run, command(run, masked or [], arguments=imported), True, limits)


def can_fork_kernels() -> bool:
    """Whether this system has what a warm process and its kernels are held by."""
    return hasattr(os, "pidfd_open") and sys.platform == "linux"


def _new_run() -> Path:
    return Path(tempfile.mkdtemp(prefix="box-", dir=scratch()))
