"""Files that are there whole, or as they were before: a run may be killed while it writes one."""

import contextlib
import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8, line ends as they are) to `path`, whose folder is made.

    It is written to a hidden `.part` file beside `path`, forced onto the disk, and put in place at
    once. Raises OSError (a full disk, say); the `.part` file is gone then, `path` as it was.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, _mode(path))
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise


def _mode(path: Path) -> int:
    """The rights `path` has, or would have if it were opened to be written; mkstemp gives fewer."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
