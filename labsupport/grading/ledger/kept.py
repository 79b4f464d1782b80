"""Notes on submissions that outlive a run and have no place in nbgrader's gradebook.

DIR/.labs/kept/LAB/STUDENT.json   why there is no grade, which late penalty was worked out, what a
                                  person had graded before a new run, what a feedback page shows
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labsupport.errors import CourseError

Pair = tuple[str, str]  # (assignment, student)


def read_kept(folder: Path, pair: Pair) -> dict[str, Any]:
    """The notes on a submission, {} where there are none or the disk has damaged them."""
    try:
        kept = json.loads(_path(folder, pair).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def keep(folder: Path, pair: Pair, **notes: Any) -> None:
    """Change notes on a submission; None takes one away. Nothing is written where all are so.

    Raises CourseError (a full disk, say) and leaves them as they were.
    """
    known = read_kept(folder, pair)
    wanted = {name: value for name, value in (known | notes).items() if value is not None}
    if wanted == known:
        return
    # torch comes with it: a run that changes nothing has no use for it
    from labsupport.files import write_whole

    try:
        write_whole(_path(folder, pair), json.dumps(wanted, ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise CourseError(
            f"{folder / '.labs' / 'kept'} cannot be written to: {error.strerror}; what is done "
            "stays done: mend that, then run again to go on"
        ) from error


def _path(folder: Path, pair: Pair) -> Path:
    names = (quote(name, safe="") for name in pair)
    return (folder / ".labs" / "kept").joinpath(*names).with_suffix(".json")
