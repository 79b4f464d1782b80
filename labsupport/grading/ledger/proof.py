"""Proof that a course's labs can be graded, before anybody is: see ``judging.proof``.

It runs in processes of its own, beside whatever is done meanwhile, and once for a lab's source:
what has passed is remembered in ``.labs/proofs``, by what it depends on.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

from labsupport.course.fingerprint import fingerprint_of
from labsupport.course.source import parse_lab
from labsupport.errors import CourseError
from labsupport.grading.workers.forks import prepare_workers
from labsupport.grading.workers.task import versions

PROOF_SECONDS = 600  # of one lab; a judge that takes longer than this is broken too


class Proofs:
    """The proofs of some labs, from when they begin; ``wait`` raises CourseError for those that
    fail."""

    def __init__(self, folder: Path, sources: list[Path]):
        self._folder = folder / ".labs" / "proofs"
        texts = {path: path.read_text(encoding="utf-8") for path in sources}
        self._names = {path: _name(path, text) for path, text in texts.items()}
        self._todo = [
            (path, text)
            for path, text in texts.items()
            if not (self._folder / self._names[path]).exists()
        ]
        self._running: list[_Process] = []
        if self._todo:
            prepare_workers()
        self._begin()

    def wait(self) -> None:
        """Wait for all of them. Raises CourseError, one line for all that is wrong."""
        broken = []
        while self._running:
            process = self._running.pop(0)
            reasons = process.reasons()
            if not reasons:
                self._remember(process.path)
            broken += reasons
            self._begin()
        if broken:
            raise CourseError(
                "; ".join(broken) + f": mend {self._folder.parents[1] / 'labs'}, then run again; "
                "no grade was given"
            )

    def close(self) -> None:
        for process in self._running:
            process.kill()
        self._running, self._todo = [], []

    def _begin(self) -> None:
        while self._todo and len(self._running) < (os.cpu_count() or 1):
            self._running.append(_Process(*self._todo.pop(0)))

    def _remember(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # it is proven again, then
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / self._names[path]).touch()


@contextlib.contextmanager
def proofs(folder: Path, sources: list[Path]) -> Iterator[Proofs]:
    """``Proofs`` that are under way; none of their processes is left at the end."""
    begun = Proofs(folder, sources)
    try:
        yield begun
    finally:
        begun.close()


class _Process:
    """One lab's proof, in a process forked from that of the workers, where torch is loaded."""

    def __init__(self, path: Path, text: str):
        self.path = path
        context = multiprocessing.get_context("forkserver")
        self._end, far_end = context.Pipe(duplex=False)
        self._process = context.Process(target=_prove, args=(far_end, path, text), daemon=True)
        with _without_main():
            self._process.start()
        far_end.close()
        self._until = time.monotonic() + PROOF_SECONDS

    def reasons(self) -> list[str]:
        stem = self.path.stem
        try:
            if self._end.poll(max(0.0, self._until - time.monotonic())):
                return self._end.recv()
            return [
                f"{stem}: its judges and checks took more than {PROOF_SECONDS} s on its solution"
            ]
        except EOFError:
            return [f"{stem}: the process died that ran its solution, judges and checks"]
        finally:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._end.close()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """A process that is started in here does not run the caller's script once more: it has no use
    for it, and a script that releases a course need not be written for that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _prove(pipe: Connection, path: Path, text: str) -> None:
    """The life of a proof's process. What the lab's cells print is told to nobody."""
    resource.setrlimit(resource.RLIMIT_CPU, (PROOF_SECONDS, PROOF_SECONDS))  # whoever asked is gone
    os.environ["MPLBACKEND"] = "agg"
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    import torch

    from labsupport.grading.judging.proof import failures

    torch.set_num_threads(1)
    pipe.send(failures(parse_lab(text, path)))


def _name(path: Path, text: str) -> str:
    """All that a proof depends on, as a hash."""
    about = json.dumps([path.stem, fingerprint_of(path.stem, text), versions()], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()[:32]
