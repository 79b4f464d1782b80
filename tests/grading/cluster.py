"""A real Dask cluster: a scheduler and workers as processes of their own, on separate folders.

Each worker runs in bubblewrap with a folder of its own and no sight of the course: all that joins
it to the instructor's machine is the scheduler's address.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from dask.distributed import Client
from small_class import ROOT, until


class Cluster:
    """Starts a scheduler, and workers that join it; ends them all."""

    def __init__(self, place: Path):
        self.place, self._running = place, []
        about = place / "scheduler" / "about.json"
        self.scheduler = self._start(
            "scheduler",
            "dask",
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(about),
            "--no-show",
        )
        self.address = json.loads(until(lambda: about.exists() and about.read_text()))["address"]

    def worker(self, name: str, threads: int = 1, python_path: Path = ROOT) -> subprocess.Popen:
        home = self.place / name
        before = self.count()
        process = self._start(
            name,
            "dask",
            "worker",
            self.address,
            "--nthreads",
            str(threads),
            "--no-dashboard",
            "--local-directory",
            str(home),
            "--name",
            name,
            python_path=python_path,
        )
        until(lambda: self.count() > before)
        return process

    def count(self) -> int:
        with Client(self.address, timeout=30) as client:
            return len(client.nthreads())

    def _start(self, name, *words, python_path=ROOT):
        home = self.place / name
        home.mkdir()
        hidden = str(self.place)
        jail = [
            "bwrap",
            "--dev-bind",
            "/",
            "/",
            "--tmpfs",
            hidden,
            "--bind",
            str(home),
            str(home),
            "--die-with-parent",
            "--chdir",
            str(home),
        ]
        environment = os.environ | {
            "PYTHONPATH": str(python_path),
            "HOME": str(home),
            "TMPDIR": str(home),
        }
        with (home / "log").open("w") as log:
            process = subprocess.Popen(
                [*jail, sys.executable, "-m", *words], env=environment, stdout=log, stderr=log
            )
        self._running.append(process)
        return process

    def end(self, *processes: subprocess.Popen) -> None:
        for process in processes or self._running[::-1]:
            process.kill()  # bubblewrap takes what runs in it along
            process.wait()
