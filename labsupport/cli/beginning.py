"""What a grading command begins before imports that take seconds, so that all go on at once.

Two processes import torch: the one that workers are forked from, and the one that a lab's kernels
are forked from. Which lab's, is a guess; a wrong one costs nothing but the time of a processor.
"""

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

from labsupport.errors import LabError


def begin(source: Path | None, sandbox: bool = True) -> None:
    """Start both for the lab of ``source``; nothing for None. What is wrong with it is for the
    command itself to say."""
    if source is None:
        return
    from labsupport.grading.workers.forks import prepare_workers

    prepare_workers()
    with contextlib.suppress(LabError, OSError, ValueError):
        text = source.read_text(encoding="utf-8")
        from labsupport.grading.workers.warmth import needs_of, warmed

        warmed(needs_of(source.stem, text, sandbox))


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Without the garbage collector, which takes a fifth of their time and finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def first_to_grade(
    folder: Path, labs: list[str] | None, students: list[str] | None, again: bool
) -> Path | None:
    """The source of the first lab that something was handed in for and not graded since, as far
    as the files' times tell; None where there is nothing to do."""
    waiting = set()
    with contextlib.suppress(OSError):
        for place in (folder / "submitted").glob("*/*"):
            student, lab = place.parent.name, place.name
            wanted = not labs or lab in labs or lab[:2] in labs
            if wanted and student in (students or [student]) and lab not in waiting:
                graded = folder / "autograded" / student / lab / f"{lab}.ipynb"
                if again or _is_newer(place / f"{lab}.ipynb", graded):
                    waiting.add(lab)
    sources = (folder / "labs" / f"{lab}.py" for lab in sorted(waiting))
    return next((source for source in sources if source.is_file()), None)


def _is_newer(path: Path, than: Path) -> bool:
    try:
        return path.stat().st_mtime > than.stat().st_mtime
    except OSError:
        return path.is_file()
