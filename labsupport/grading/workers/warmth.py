"""Warm processes that a lab's kernels come from: one a lab on this machine, for all its workers.

Whoever hands out tasks starts it, as early as can be, and tells workers where it is (``warmed``).
A worker that was told of none, as on a cluster, or whose one is gone, starts its own
(``kernels_for``).
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from labsupport.course.source import parsed_lab
from labsupport.grading.submission.drawing_names import imported_names

if TYPE_CHECKING:
    from labsupport.grading.running.sandbox.asking import KernelSource, Place
    from labsupport.grading.running.sandbox.warm import WarmProcess


@dataclass(frozen=True)
class Needs:
    """What a lab's warm process is to be: in a sandbox or not (``walled``), the files that the
    sandbox masks, and what is ``imported``: a sandbox sees no lab, so it is told what the given
    cells import."""

    walled: bool
    masks: tuple[str, ...]
    imported: tuple[str, ...]


@lru_cache(maxsize=32)
def needs_of(stem: str, source: str, sandbox: bool) -> Needs:
    """What the warm process for a lab's ``source`` is to be."""
    lab = parsed_lab(stem, source)
    hidden = [f"labsupport.{name.removesuffix('.py').replace('/', '.')}" for name in lab.masks]
    found = {name for cell in lab.of("given") for _, name in imported_names(cell.source)}
    imported = sorted(n for n in found if not f"{n}.".startswith(tuple(f"{h}." for h in hidden)))
    return Needs(sandbox, tuple(lab.masks) if sandbox else (), tuple(imported))


_own: dict[Needs, "WarmProcess"] = {}
_told: dict["Place", "KernelSource"] = {}


def warmed(needs: Needs) -> "Place | None":
    """Where this process's warm process is, started where there is none, or where it is gone; None
    where this system has none. Raises SandboxError without bubblewrap."""
    started = _started(needs)
    return started.place if started is not None else None


def kernels_for(needs: Needs, place: "Place | None" = None) -> "KernelSource | None":
    """Where kernels come from: the warm process at ``place``, or this process's own; None where
    this system has none, and a kernel is a process that starts by itself."""
    from labsupport.grading.running.sandbox.asking import KernelSource

    if place is not None:
        if place not in _told:
            _told[place] = KernelSource(place)
        if not _told[place].lost():
            return _told[place]
    return _started(needs)


def end_all_but(needed: Collection[Needs]) -> None:
    """End this process's warm processes that are not ``needed`` any more."""
    for needs in set(_own).difference(needed):
        _own.pop(needs).close()


def _started(needs: Needs) -> "WarmProcess | None":
    from labsupport.grading.running.sandbox.warm import WarmProcess, WarmSandbox, can_fork_kernels

    known = _own.get(needs)
    if known is not None and known.lost():
        end_all_but(set(_own) - {needs})
        known = None
    if known is not None:
        return known
    if needs.walled:
        _own[needs] = WarmSandbox(list(needs.masks), imported=needs.imported)
    elif can_fork_kernels():
        _own[needs] = WarmProcess(imported=needs.imported)
    return _own.get(needs)
